"""Studies, and the plan of runs that a study needs under a design."""

from harness.study.checks import check, failed, missing, stale, work
from harness.study.described import describe, edited
from harness.study.files import available, find, load
from harness.study.measures import asked, by_metric
from harness.study.plans import Decide, Plan, Rung, plan, retuned, spare_seed
from harness.study.settings import setting
from harness.study.study import Run, Study, trick_name, trick_title
from harness.study.target import aimed, reaching, walked
