"""Why a fit cannot work, and which column did it."""

from torchlogreg.diagnostics.bounds import Certificate, certificate
from torchlogreg.diagnostics.diagnosis import Diagnosis, Finding
from torchlogreg.diagnostics.report import diagnose
from torchlogreg.diagnostics.separated import Separation, separation

__all__ = [
    "Certificate",
    "Diagnosis",
    "Finding",
    "Separation",
    "certificate",
    "diagnose",
    "separation",
]
