"""The one way in which a step becomes a Kubeflow task.

The code of a task is its image's: nothing is installed when a pod starts, and the local runner finds the same code in the environment
that it was started from.
"""

from __future__ import annotations

import functools

from kfp import dsl

#: The image that holds this project and its locked dependencies. Its name must contain "python" for the local runner's sake.
IMAGE = "pawflow/python-train:0.1.0"

component = functools.partial(dsl.component, base_image=IMAGE, install_kfp_package=False)
