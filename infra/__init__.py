"""Where the pipeline runs: images, a team server, a cluster."""
