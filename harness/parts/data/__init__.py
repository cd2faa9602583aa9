"""Data: digits, torchvision's sets, folders, tables, containers, arrays; boxes, masks; and images held out of them."""

from harness.parts.data.arrays import Arrays
from harness.parts.data.boxes import VOC, Boxes
from harness.parts.data.folders import (
    LOOKED,
    PAPER_MEAN,
    PAPER_STD,
    SAMPLE,
    Files,
    Folder,
    ImageFolder,
    Places365,
    distrust,
)
from harness.parts.data.gathered import Limits, limited
from harness.parts.data.holdout import Holdout, blinded
from harness.parts.data.images import (
    SMALL,
    Batch,
    Images,
    Triple,
    digests,
    redone,
    repeated,
)
from harness.parts.data.listing import LEFT, Listing
from harness.parts.data.masks import ADE20K, Cityscapes, Masks
from harness.parts.data.memory import Cached
from harness.parts.data.packed import Packed
from harness.parts.data.photos import Photos, centred, cut_out, shares
from harness.parts.data.prepared import Prepared
from harness.parts.data.scenes import Scene, Scenes
from harness.parts.data.sets import Digits, Torchvision, in_memory
from harness.parts.data.splits import Split
from harness.parts.data.table import Table
