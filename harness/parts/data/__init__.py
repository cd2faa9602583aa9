"""Data: digits, torchvision's small sets, ImageFolder trees, Places365; boxes, masks; and images held out of them."""

from harness.parts.data.boxes import VOC, Boxes
from harness.parts.data.folders import (
    LOOKED,
    PAPER_MEAN,
    PAPER_STD,
    SAMPLE,
    Files,
    Folder,
    ImageFolder,
    Limits,
    Places365,
    distrust,
    limited,
)
from harness.parts.data.holdout import Holdout, blinded
from harness.parts.data.images import SMALL, Batch, Drawing, Images, Triple, augmented, drawing, redone, repeated
from harness.parts.data.listing import LEFT, Listing
from harness.parts.data.masks import ADE20K, Cityscapes, Masks
from harness.parts.data.memory import Cached
from harness.parts.data.photos import Photos, centred, cut_out, shares
from harness.parts.data.scenes import Scene, Scenes
from harness.parts.data.sets import Digits, Torchvision, in_memory
