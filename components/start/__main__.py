from components.common.cli import main
from components.start.run import run

main(run)
