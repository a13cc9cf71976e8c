"""Train a network of the family: `python train.py --config FILE --output_dir DIR --data_dir DIR`."""

import sys

from trellis.app.train_command import main

if __name__ == "__main__":
    sys.exit(main())
