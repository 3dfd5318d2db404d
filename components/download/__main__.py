from components.common.cli import main
from components.download.run import run

main(run)
