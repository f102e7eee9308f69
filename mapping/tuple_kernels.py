"""Places of what the compiled search takes in tuples, and in arrays of single numbers."""

# a plan (`cost_kernels`)
MOVES = 0  # what passes between memories
ENDS_OF = 1  # ports and rates at both ends
PJ = 2  # energy of accesses, and beside them
SIZES = 3  # of the layer
STEP_TILE = 4  # what one step does of each dimension
PACE = 5  # clocks of a step, as a ratio
UNITS = 6  # that the first elements of a step's tile reach
SHARES = 7  # elements of the first unit
WINDOWS_OF = 8  # of a convolution's input (`window_kernels`)
PIXELS = 9  # of its blocks
KINDS = 10  # whose loops stand together

# a layout (`room_kernels`)
PLACES = 0  # of operands in memories
BITS = 1  # of an element there
ROOM = 2  # of each memory
AT_ONCE = 3  # whether one step adds all of a result up

# a space (`search_kernels.search_tiles`)
CHAINS = 0  # tiles of each dimension, tier by tier
FOLLOWING = 1  # the next chain that differs
COUNTS = 2  # of chains
ORDERS = 3  # of kinds of dimensions
ALLOWED = 4  # which orders are to be tried
MEMBERS = 5  # dimensions of each kind

# what is fixed of an unrolling
FILL = 0  # clocks beside the steps
PORTS = 1  # how many
DOUBLABLE = 2  # places, as a mask
BOUNDED = 3  # whether bounds leave out what cannot be best
WAY = 4  # its number

# a front (`front_kernels`)
COSTS = 0  # clocks and energy
FOUND = 1  # what they are of
MANY = 2  # how many

# rates (`bound_kernels.move_rates`)
CLOCKS = 0  # of an element, by port
ENERGY = 1  # of an element
ELEMENTS_OF = 2  # an operand

# floors (`tier_floors.floors_of`)
TIERS = 0  # of each tier's transfers and those further in
DEEPER = 1  # of those further in alone
PLACES_OF = 2  # chains among a tier's tiles
BY_KIND = 3  # of each tier alone, by what is innermost outside
NO_PLACES = 4  # an empty array
