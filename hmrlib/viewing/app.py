"""The explorer as a web page without code: Voila, for this machine alone, a few pages at a time."""

import os
from pathlib import Path

from hmrlib.io import extra

with extra("notebooks"):
    from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager
    from tornado.web import HTTPError
    from traitlets import Integer
    from voila.app import Voila

PAGES = 4  # open at a time; each has a kernel of its own, of about 0.9 GiB
LEFT = 120  # seconds that a kernel outlives its page: as long as a busy machine takes to open one


class FewKernels(AsyncMappingKernelManager):
    """Starts so many kernels and no more; whoever asks for another is told to wait."""

    most = Integer(PAGES, config=True)
    starting = 0

    async def start_kernel(self, **options):
        if len(self) + self.starting >= self.most:
            pages = "page is" if self.most == 1 else "pages are"
            advice = "close one and wait two minutes, or give `hmr app` a larger --pages"
            raise HTTPError(503, reason=f"{self.most} {pages} open, and no more may be: {advice}")
        self.starting += 1
        try:
            return await super().start_kernel(**options)
        finally:
            self.starting -= 1


def serve(port, browser=True, pages=PAGES, left=LEFT):
    """Serve the explorer at a port of this machine, until Ctrl-C.

    A page that is closed ends its kernel; one that never was open in a browser, or that vanished,
    leaves it for some time. Requests under another name than this machine's own are refused: a
    page from elsewhere could have had its name turned to this machine.

    Args:
        port: the next ones are tried where it is taken.
        browser: open the page in one.
        pages: how many may be open at a time.
        left: seconds until a kernel without a page is ended.
    """
    here = Path(__file__).parent
    path = [str(here), os.environ.get("JUPYTER_PATH")]  # where our template is
    os.environ["JUPYTER_PATH"] = os.pathsep.join(filter(None, path))
    arguments = [
        str(here / "app.ipynb"),
        "--template=app",
        "--Voila.ip=127.0.0.1",
        f"--port={port}",
        f"--VoilaConfiguration.multi_kernel_manager_class={__name__}.FewKernels",
        f"--FewKernels.most={pages}",
        f"--FewKernels.cull_idle_timeout={left}",
        f"--FewKernels.cull_interval={max(left // 8, 1)}",
    ]
    Voila.launch_instance(
        [*arguments, *([] if browser else ["--no-browser"])],
        config_file_paths=[],  # settings of the user's own Voila, or of the folder, are not for us
        tornado_settings={"allow_remote_access": False},
    )
