"""A specification written and read again."""

import json

from harness.spec import parse, plain


def through_json(spec):
    return parse(json.loads(json.dumps(plain(spec))))
