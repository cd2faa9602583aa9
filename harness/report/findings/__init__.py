"""What a study found, in bullets and tables made from its frames. No claim is stronger than its verdict."""

from harness.report.findings.found import far, found, markdown
from harness.report.findings.gains import OF_TABLE, READING, VERDICTS, Gain, told_gains
from harness.report.findings.paper import Known, beside_paper, paper_gain, paper_gains
from harness.report.findings.words import DESIGNS, NAMED, ONLY, Section, bare, rung_of
