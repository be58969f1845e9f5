"""Patches: for each module that trains or draws, the sibling here that knows how to watch it.

A sibling has ``patch(module, fits)``, which is called when the module has just been executed; that
of the generators needs no more than the log, and `random` is imported by nearly everything.
"""

import sys

FITS = {
    "flaml.automl.automl": "studies",
    "lightgbm.basic": "lightgbms",
    "lightgbm.callback": "lightgbms",
    "lightgbm.engine": "lightgbms",
    "lightgbm.sklearn": "lightgbms",
    "numpy.random": "randomness",
    "optuna.samplers._lazy_random_state": "studies",
    "optuna.study.study": "studies",
    "random": "randomness",
    "sklearn.base": "estimators",
    "sklearn.utils.validation": "estimators",
    "torch": "networks",
    "xgboost.callback": "xgboosts",
    "xgboost.core": "xgboosts",
    "xgboost.sklearn": "xgboosts",
    "xgboost.training": "xgboosts",
}


FORCED = []
"""What is done before anybody watches, if a rebuild gives something to calls; see `forcing`."""


def apply(module, log, fits):
    """Watch what is trained or drawn with a module of the table; `fits` returns the fits."""
    from importlib import import_module

    for force in FORCED:
        force(module)
    sibling = FITS.get(module.__name__)
    if sibling:
        record = log if sibling == "randomness" else fits()
        import_module("." + sibling, __package__).patch(module, record)


def apply_loaded(log, fits):
    """Do so for the modules that were imported before the probe was."""
    for name in FITS:
        module = sys.modules.get(name)
        if module is not None:
            apply(module, log, fits)
