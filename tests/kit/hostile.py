"""Names from outside, as bad as they come."""

import io

from PIL import Image

NAMES = {  # what is given, and what a reader must see
    "script": ("<script>alert(1)</script>",) * 2,
    "comment": ("--><script>alert(1)</script><!--",) * 2,
    "cell": ("</td><td>",) * 2,
    "attribute": ("\" onload='x' a=\"",) * 2,
    "entity": ("&lt;b&gt; &#60;i>",) * 2,
    "latex": (r"\input{/etc/passwd}",) * 2,
    "ends": (r"x}\\ \end{tabular} \\",) * 2,
    "row option": ("[2cm] x",) * 2,
    "row star": ("*x",) * 2,
    "specials": ("$x$ & % # _ { } ~ y ^ z ^^41",) * 2,
    "bad formula": (r"$\frac{$",) * 2,
    "equals": ("=cmd()",) * 2,
    "plus": ("+cmd|' /C calc'!A0",) * 2,
    "minus": ("-2+3",) * 2,
    "at": ("@SUM(1,2)",) * 2,
    "wide equals": ("＝cmd()",) * 2,
    "tab": ("\t=cmd()", "=cmd()"),
    "return": ("\r\n=cmd()", "=cmd()"),
    "quote": ('a","b\',\n;c', 'a","b\', ;c'),
    "up": ("../../x",) * 2,
    "absolute": ("/etc/passwd",) * 2,
    "parent": ("..",) * 2,
    "pipe": ("a|b",) * 2,
    "escaped pipe": (r"a\|b\\|c\ ", r"a\|b\\|c" + "\\"),
    "code": ("`a|` ``b",) * 2,
    "link": ("[a](javascript:b) ![c](d) <http://e>",) * 2,
    "emphasis": ("_a_ __b__ *c* **d** ~~e~~ f_g_h __i",) * 2,
    "lines": ("two\nlines\n\n# a\x1b[31mred\x1b]0;t\x07\x00\x7f\u202e\u2028end", "two lines # a[31mred]0;t end"),
    "surrogate": ("a\udcffb", "ab"),
    "long": ("x" * 10_000, "x" * 79 + "…"),
}


def size_of(picture):
    with Image.open(io.BytesIO(picture)) as image:
        return image.size
