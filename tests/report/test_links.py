"""Every internal link and anchor of the built book leads somewhere."""

from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """The links and the ids of a page."""

    def __init__(self, path):
        super().__init__()
        self.links, self.ids = set(), set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.ids |= {found[name] for name in ("id", "name") if found.get(name)}
        self.links |= {found[name] for name in ("href", "src") if found.get(name)}


def dead_links(html):
    """Return the internal links that lead to no file, or to no place in it, as (page, link)."""
    written = [path for path in html.rglob("*.html") if "_static" not in path.parts]  # templates of the theme lie there
    pages = {path.resolve(): Page(path) for path in written}
    dead = []
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            asks = parts.fragment.startswith(("find=", "verdict="))  # what the scorecard is searched for
            lost = parts.fragment and not asks and target in pages and unquote(parts.fragment) not in pages[target].ids
            if not target.exists() or lost:
                dead.append((path.name, link))
    return sorted(dead)


def test_every_link_of_the_book_leads_somewhere(html):
    assert sum(len(Page(path).links) for path in html.glob("*.html")) > 1000
    assert dead_links(html) == []


def test_dead_links_are_found(tmp_path):
    (tmp_path / "part").mkdir()
    (tmp_path / "data.json").write_text("{}")
    (tmp_path / "part" / "b.html").write_text("<h1 id='here'>b</h1><a href='../a.html#x y'>a</a><img src='no.png'>")
    (tmp_path / "a.html").write_text(
        "<p id='x y'><a href='part/b.html#here'>b</a><a href='part/b.html#gone'>b</a><a href='scorecard'>s</a>"
        "<a href='data.json'>d</a><a href='https://example.org/none'>e</a><a href='#x%20y'>x</a><a href='#z'>z</a>"
    )
    dead = [("a.html", "#z"), ("a.html", "part/b.html#gone"), ("a.html", "scorecard"), ("b.html", "no.png")]
    assert dead_links(tmp_path) == dead
