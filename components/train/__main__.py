from components.common.cli import main
from components.train.run import run

main(run)
