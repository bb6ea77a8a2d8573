"""Pictures and films of a fit, drawn from a History. They never train."""

from torchlogreg.viz.canvas import Scene, save_picture
from torchlogreg.viz.cost_curves import CostCurves

__all__ = ["CostCurves", "Scene", "save_picture"]
