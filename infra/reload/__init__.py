"""A rolling restart of the MLflow endpoint when its model gets another champion."""
