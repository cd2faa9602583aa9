"""A page as a browser sees it."""

import html.parser

VOID = {"meta", "link", "br", "img", "input"}


class Tree(html.parser.HTMLParser):
    """Each element as (tag, attributes, text in it, tags it is in)."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open, self.comments = [], [], 0
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        names = [name for name, _ in attributes]
        assert len(names) == len(set(names)), f"{tag} has an attribute twice"
        element = (tag, dict(attributes), [], [outer[0] for outer in self.open])
        self.elements.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        for element in self.open:
            element[2].append(data)

    def handle_comment(self, data):
        self.comments += 1

    def of(self, tag, **wanted):
        found = [e for e in self.elements if e[0] == tag and wanted.items() <= e[1].items()]
        return [("".join(texts), attributes) for _, attributes, texts, _ in found]

    def texts(self, tag, **wanted):
        return [text for text, _ in self.of(tag, **wanted)]
