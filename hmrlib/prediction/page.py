"""One page to look through what came of a folder: the network and the refined body, side by side.

The page is one file: its pictures are in it, and it asks for nothing elsewhere.
"""

import base64
import html
import io
from pathlib import Path

from PIL import Image

from hmrlib.io import atomic_write, images

HEIGHT = 300  # of a picture in the page, pixels
A_PAGE = 200  # photographs on a page
COLUMNS = {
    "photo.jpg": "photograph",
    "network.jpg": "network alone",
    "overlay.jpg": "what came of it",
    "side.jpg": "from the side",
    "top.jpg": "from above",
}

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;color:#22293a;background:#f4f5f7;margin:2rem}
h1{font-size:1.4rem;font-weight:600}
article{background:#fff;border-radius:10px;padding:1rem 1.2rem;margin:1rem 0;
box-shadow:0 1px 4px #0002}
h2{font-size:1rem;margin:0 0 .5rem;font-weight:600}
.row{display:flex;flex-wrap:wrap;gap:.6rem}
figure{margin:0}img{height:300px;max-width:100%;border-radius:6px;display:block}
figcaption,.note{color:#5b6475;font-size:.85rem}
.left-out{color:#a33}
"""


def write_pages(out, entries, title="What came of it"):
    """Write `contact.html`, and `contact_2.html`, ... where there are very many photographs.

    Args:
        out: the folder that the pages go to.
        entries: list of (name, folder or None, sentence): a folder has the pictures of `COLUMNS`;
            without one the sentence says why.

    Returns:
        list of the pages' paths.
    """
    out = Path(out)
    parts = [entries[i : i + A_PAGE] for i in range(0, max(len(entries), 1), A_PAGE)]
    names = ["contact.html", *(f"contact_{i}.html" for i in range(2, len(parts) + 1))]
    done = sum(folder is not None for _, folder, _ in entries)
    written = []
    for number, (name, part) in enumerate(zip(names, parts, strict=True)):
        text = [
            '<!doctype html><html lang="en"><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width">',
            f"<title>{html.escape(title)}</title><style>{_STYLE}</style>",
            f"<h1>{html.escape(title)}: {done} of {len(entries)}</h1>",
        ]
        if len(parts) > 1:
            links = " · ".join(f'<a href="{n}">{i + 1}</a>' for i, n in enumerate(names))
            text.append(f"<p>page {number + 1} of {links}</p>")
        text += [_article(*entry) for entry in part]
        with atomic_write(out / name) as file:
            file.write("\n".join(text).encode())
        written.append(out / name)
    return written


def _article(name, folder, note):
    """What came of one photograph, as HTML."""
    head = f"<article><h2>{html.escape(str(name))}</h2>"
    if folder is None:
        return f'{head}<p class="left-out">left out: {html.escape(note)}</p></article>'
    figures = [
        f'<figure><img alt="{title}" src="{_as_data(Path(folder) / file)}">'
        f"<figcaption>{title}</figcaption></figure>"
        for file, title in COLUMNS.items()
        if (Path(folder) / file).is_file()
    ]
    row = f'<div class="row">{"".join(figures)}</div>'
    return f'{head}{row}<p class="note">{html.escape(note)}</p></article>'


def _as_data(path):
    """A small JPEG of a picture, as an address that holds it."""
    picture = Image.fromarray(images.read_image(path))
    width = max(round(picture.width * HEIGHT / picture.height), 1)
    if picture.height > HEIGHT:
        picture = picture.resize((width, HEIGHT), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
