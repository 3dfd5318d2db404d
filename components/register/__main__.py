from components.common.cli import main
from components.register.run import run

main(run)
