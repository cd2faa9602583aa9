"""Two rungs, or two studies rung by rung, side by side: what differs, what that gives, and how sure that is."""

from harness.report.versus.compared import Compared, compare
from harness.report.versus.sides import Rung, Side, matched, side
from harness.report.versus.words import text, told, write
