"""Pictures and films of a fit, drawn from a History. They never train."""

from torchlogreg.viz.canvas import Scene, save_picture
from torchlogreg.viz.cost_curves import CostCurves
from torchlogreg.viz.descent import Descent
from torchlogreg.viz.film import Film, select_frames

__all__ = ["CostCurves", "Descent", "Film", "Scene", "save_picture", "select_frames"]
