"""Pictures and films of a fit, drawn from a History. They never train."""

from torchlogreg.viz.boundary import Boundary
from torchlogreg.viz.canvas import Scene, save_picture
from torchlogreg.viz.cost_curves import CostCurves
from torchlogreg.viz.descent import Descent
from torchlogreg.viz.film import Film
from torchlogreg.viz.race import Race
from torchlogreg.viz.regularisation import RegularisationPath
from torchlogreg.viz.selection import select_frames

__all__ = [
    "Boundary",
    "CostCurves",
    "Descent",
    "Film",
    "Race",
    "RegularisationPath",
    "Scene",
    "save_picture",
    "select_frames",
]
