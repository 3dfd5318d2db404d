from components.common.cli import main
from components.promote.run import run

main(run)
