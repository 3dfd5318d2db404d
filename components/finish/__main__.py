from components.common.cli import main
from components.finish.run import run

main(run)
