from components.common.cli import main
from components.evaluate.run import run

main(run)
