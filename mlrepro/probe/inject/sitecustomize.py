"""Sitecustomize: start mlrepro's probe, then hand on to the user's own `sitecustomize`."""


def _start():
    import sys

    here = __file__.rpartition("/")[0]
    try:
        import _mlrepro_probe

        _mlrepro_probe.start(here)
    except Exception:  # the user's program must start, watched or not
        sys.modules.pop("_mlrepro_probe", None)
    # The user's program must not find this folder, nor this module in place of its own.
    sys.path[:] = [entry for entry in sys.path if entry != here]
    sys.path_importer_cache.pop(here, None)
    sys.modules.pop("sitecustomize", None)


_start()
# Where there is none, the ImportError is what `site` expects. Python itself puts the module that
# this import finds in the place of this one.
import sitecustomize  # noqa: E402, F401
