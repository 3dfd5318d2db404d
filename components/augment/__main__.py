from components.augment.run import run
from components.common.cli import main

main(run)
