"""Which results stay on the chip, from the definition: of all choices the largest that is sound.

Shares no code with the package. Instances of layers are dictionaries in the order in which they
run, every turn of a repetition written out:

``name``, ``inputs`` and ``weights`` (names whose latest results it reads; a name that has not run
yet stands for something outside), ``parts`` (instances whose results are read together),
``in`` and ``out`` (bytes of its inputs and of its results).

Results are named by the position of their layer.
"""

from itertools import combinations


def sources(instances, i, operand):
    """The results that instance i reads as an operand; None for one from outside."""
    before = range(i)
    return [
        max((j for j in before if instances[j]["name"] == name), default=None)
        for name in instances[i][operand]
    ]


def choices(results):
    """All sets of some results."""
    return [set(c) for n in range(len(results) + 1) for c in combinations(sorted(results), n)]


class Story:
    """A run of instances in a buffer of some bytes."""

    def __init__(self, instances, size):
        self.instances, self.size, self.all = instances, size, range(len(instances))
        self.inputs = [sources(instances, i, "inputs") for i in self.all]
        self.weights = [sources(instances, i, "weights") for i in self.all]
        self.lives = [range(j, self.last_reader(j) + 1) for j in self.all]

    def readers(self, j):
        return [i for i in self.all if j in self.inputs[i] + self.weights[i]]

    def last_reader(self, j):
        return max(self.readers(j), default=j)

    def must_go(self, j):
        """Whether a result is of no use on the chip, or has to be in DRAM, whatever the buffer."""
        a_part = self.instances[j]["parts"] > 1
        an_operand = any(j in weights for weights in self.weights)
        beside_outside = any(j in inputs and None in inputs for inputs in self.inputs)
        return not self.readers(j) or a_part or an_operand or beside_outside

    def held(self, there, i):
        """The results of ``there`` that are on the chip while layer i runs."""
        return [j for j in there if i in self.lives[j]]

    def bytes_of(self, results):
        return sum(self.instances[j]["out"] for j in results)

    def bytes_needed(self, there, i):
        """Bytes of the buffer while layer i runs, if the results ``there`` stay.

        Its inputs are those of the results that it reads, or more (a feature map laid out anew).
        """
        read = [j for j in self.held(there, i) if j in self.inputs[i]]
        beside = [j for j in self.held(there, i) if j not in self.inputs[i]]
        return max(self.bytes_of(read), self.instances[i]["in"]) + self.bytes_of(beside)

    def room_for(self, j, there):
        """Whether result j finds room all its life, if the results ``there`` stay."""
        return all(self.bytes_needed(there, i) <= self.size for i in self.lives[j])

    def sound(self, choice):
        """Whether every layer finds all of its inputs on the chip, or none."""
        return all(choice.isdisjoint(x) or choice.issuperset(x) for x in self.inputs)

    def staying(self):
        """The results that stay: what might stay finds room alone, these beside all that might."""
        might = {j for j in self.all if not self.must_go(j) and self.room_for(j, {j})}
        fit = {j for j in might if self.room_for(j, might)}
        good = [choice for choice in choices(fit) if self.sound(choice)]
        largest = max(good, key=len)
        assert all(choice <= largest for choice in good)  # one choice holds all others
        return largest


def keep(instances, size):
    """(inputs on the chip, results stay, bytes held) of every instance."""
    story = Story(instances, size)
    stay = story.staying()
    found = []
    for i in story.all:
        inputs = story.inputs[i]
        on_chip = bool(inputs) and stay.issuperset(inputs)
        found.append((on_chip, i in stay, story.bytes_of(story.held(stay, i))))
    return found
