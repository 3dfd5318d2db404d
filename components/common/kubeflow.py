"""The one way in which a step becomes a Kubeflow task.

The code of a task is its image's: nothing is installed when a pod starts, and the local runner finds the same code in the environment
that it was started from.
"""

from __future__ import annotations

import functools
import os

from kfp import dsl

#: Start of the images' names, `registry.example/team/python-` say. It must contain "python" for the local runner's sake.
_PREFIX = os.environ.get("PAWFLOW_IMAGES", "pawflow/python-")
_VERSION = "0.1.0"
#: The images that hold this project and the locked dependencies of its steps: with TensorFlow, and without.
IMAGES = {name: f"{_PREFIX}{name}:{_VERSION}" for name in ("train", "data")}

component = functools.partial(dsl.component, base_image=IMAGES["train"], install_kfp_package=False)
data_component = functools.partial(dsl.component, base_image=IMAGES["data"], install_kfp_package=False)
