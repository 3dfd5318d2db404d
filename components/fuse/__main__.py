from components.common.cli import main
from components.fuse.run import run

main(run)
