"""PyBaMM as a second plant: cells by porous-electrode theory instead of a circuit. It judges, it trains nothing.

Published parameter sets, SPMe with a lumped temperature. Electrical, thermal and sensor faults only: it has no
runaway, and its episodes end at 80 degC. Needs the extra ``rig``. https://pybamm.org
"""

import os

# The library reports its use to its makers unless told otherwise: a test rig does not call home.
os.environ["PYBAMM_DISABLE_TELEMETRY"] = "true"
