"""Compounds that name one thing: "tennis ball", "hot dog".

`KINDS` are kinds of their head: a tennis ball is a ball, so both "tennis ball" and "ball" count, and two captions with
a tennis ball agree more than one with a tennis ball and one with a soccer ball. A plain tagger counts two nouns there
as well, but one of them is "tennis", which is not in the picture. `OTHERS` are none of their head ("hot dog", "teddy
bear"): they count once. Keys are (first word, lemma of the second).
"""

from __future__ import annotations

__all__ = ["ALIASES", "COMPOUNDS", "KINDS", "OTHERS"]


def _pairs(text: str) -> frozenset[tuple[str, str]]:
    return frozenset(
        (first.strip(), second) for line in text.strip().splitlines() for first, _, seconds in [line.partition(":")]
        for second in seconds.split()
    )  # fmt: skip


KINDS = _pairs(
    """
    action: figure
    air: mattress conditioner
    baby: carriage stroller carrier
    ball: pit
    baseball: bat cap glove field player game team uniform diamond hat
    basketball: player court game hoop team uniform net
    bath: tub towel
    bathing: suit cap
    bathroom: sink mirror
    beach: ball towel chair umbrella volleyball
    bed: sheet
    bicycle: helmet rider
    bike: rider helmet rack path lane
    bird: cage bath feeder
    bus: stop station
    birthday: cake party
    boogie: board
    border: collie
    bowling: alley ball pin
    brick: wall building
    building: block
    bullet: train
    bungee: cord
    business: suit man woman
    cable: car
    camp: fire
    cargo: ship
    cardboard: box
    cell: phone
    cement: mixer
    christmas: tree lights light
    city: street
    climbing: wall
    coat: rack
    coca: cola
    coffee: shop cup table maker mug pot bean
    computer: monitor mouse keyboard screen desk
    concert: hall
    construction: worker site
    control: panel
    cowboy: hat boot
    credit: card
    cricket: bat ball
    cutting: board
    dining: room table hall
    dirt: bike biker road path track
    display: case
    diving: board
    dress: shirt
    dump: truck
    electric: guitar
    fairy: tale
    ferris: wheel
    fighter: jet
    field: hockey
    fire: truck engine hydrant extinguisher station escape
    fishing: rod pole boat net line
    four: wheeler
    flower: pot bed
    flying: disc
    football: player game field team uniform helmet
    french: fry
    frying: pan
    garbage: can truck bag
    garden: hose
    gas: station mask pump
    german: shepherd
    golden: retriever
    golf: ball club course cart
    great: dane
    grocery: store bag
    gift: box shop
    half: pipe
    hand: rail
    hang: glider
    hard: hat
    high: chair heel
    hockey: player stick puck goalie game
    hot: tub
    ice: rink skate cube skater hockey
    ironing: board
    jean: jacket
    jersey: barrier
    jump: rope
    kitchen: counter sink table cabinet
    laptop: computer
    lawn: chair mower
    leather: jacket
    life: jacket vest guard preserver
    light: bulb pole
    living: room
    marching: band
    martial: art
    meter: maid
    microwave: oven
    monster: truck
    motorcycle: helmet rider racer
    mountain: bike biker range climber
    music: stand
    musical: instrument
    necktie: knot
    night: stand club gown
    obstacle: course
    office: building chair
    orange: juice
    paint: can brush
    paper: towel plate bag
    parking: lot meter garage space
    park: bench
    picnic: table basket
    picture: frame
    pine: tree cone
    palm: tree
    ping: pong
    plastic: bag bottle
    playground: equipment
    playing: field card
    police: officer car man
    polar: bear
    polo: shirt
    pool: table
    potted: plant
    power: line plant
    race: car track bike horse
    racing: car bike suit
    railroad: track crossing
    rail: road
    rally: car
    remote: control
    rice: cooker
    road: sign
    rock: wall climber formation
    rocking: chair horse
    roller: blade skate
    rope: bridge
    rubber: duck
    rugby: player ball
    running: shoe
    safety: vest
    sail: boat
    salt: shaker
    sand: castle dune
    school: bus uniform
    scuba: diver
    shopping: cart bag mall center
    shot: glass
    shower: curtain head
    side: walk
    skate: board park boarder
    skating: rink
    ski: lift pole slope mask jump boot goggles
    sippy: cup
    sleeping: bag
    snow: ball board man suit boarder mobile shoe
    soap: dispenser
    soccer: ball player game team field uniform goal net
    sports: car field
    spinning: top
    squirt: gun
    stain: glass
    stained: glass
    steering: wheel
    stop: light sign
    straw: hat
    street: light sign corner lamp vendor
    stuffed: animal toy
    subway: train station car
    suit: case
    sun: glasses set rise flower
    sunday: school
    surf: board
    swim: suit trunks
    swimming: pool suit trunks cap
    swing: set
    table: cloth lamp top
    tank: top
    telephone: pole booth
    tennis: ball player racket court racquet net shoe match
    ticket: booth
    tire: swing
    toilet: paper seat
    tooth: brush paste
    tour: bus
    tow: truck
    toy: car gun
    traffic: light sign cone jam
    train: station track
    trash: can bag
    tree: trunk stump branch limb house
    tug: boat
    tv: screen stand set
    umbrella: stand
    vending: machine
    video: camera game
    volleyball: player net court game
    washing: machine
    water: bottle fountain slide gun hose wing fall park
    watering: can
    wedding: dress cake party ring
    wet: suit
    wheel: chair barrow
    wind: mill shield
    window: sill pane
    wine: glass bottle
    wire: fence
    yoga: mat
    zip: line
    """
)
OTHERS = _pairs(
    """
    bell: pepper
    booby: trap
    brussels: sprout
    cotton: candy
    dragon: fly
    dust: pan
    fire: place work fly
    guinea: pig
    hand: bag stand cuff
    hello: kitty
    hot: dog
    ice: cream
    rock: face
    jelly: fish
    jungle: gym
    ladder: back
    lady: bug
    merry-go: round
    mickey: mouse
    mohawk: hair
    monkey: bar
    peanut: butter
    pea: nut cock
    piggy: bank
    polka: dot
    pom: pom
    pony: tail
    pop: corn
    roller: coaster
    santa: claus
    sea: horse gull weed
    sea: saw
    see: saw
    star: fish
    teddy: bear
    tooth: pick
    white: board
    """
)
COMPOUNDS = KINDS | OTHERS

# Other spellings of one noun; synonyms are not merged. A compound that is commonly written as one word is one, without
# its head: a wetsuit is listed as no suit, however it is spelled.
ALIASES = {
    "hotdog": "hot dog", "cellphone": "cell phone", "tshirt": "t-shirt", "tee-shirt": "t-shirt", "televison": "tv",
    "television": "tv", "racquet": "racket", "doughnut": "donut", "dogy": "dog", "doggy": "dog",
    "doggie": "dog", "frisbees": "frisbee", "pyjamas": "pajamas", "pajama": "pajamas", "moustache": "mustache",
    "bicycler": "bicyclist",
    "fireplug": "fire hydrant", "firetruck": "fire truck",
    "axe": "ax", "grey": "gray",
    "icecream": "ice cream", "trashcan": "trash can", "bandanna": "bandana",
    "wheel chair": "wheelchair", "side walk": "sidewalk", "snow board": "snowboard", "skate board": "skateboard",
    "surf board": "surfboard", "snow man": "snowman", "snow ball": "snowball", "suit case": "suitcase",
    "sun glasses": "sunglasses", "sun flower": "sunflower", "sun set": "sunset", "sun rise": "sunrise",
    "tooth brush": "toothbrush", "tooth paste": "toothpaste", "tug boat": "tugboat", "sail boat": "sailboat",
    "wind mill": "windmill", "wind shield": "windshield", "table cloth": "tablecloth", "tree house": "treehouse",
    "wet suit": "wetsuit", "water fall": "waterfall", "sea gull": "seagull",
    "sea horse": "seahorse", "star fish": "starfish", "pop corn": "popcorn", "pony tail": "ponytail",
    "pea cock": "peacock", "pea nut": "peanut", "lady bug": "ladybug", "jelly fish": "jellyfish", "hand bag": "handbag",
    "fire place": "fireplace", "fire work": "firework", "dragon fly": "dragonfly", "rail road": "railroad",
    "hard hat": "hardhat", "hand rail": "handrail", "camp fire": "campfire", "life guard": "lifeguard",
    "police man": "policeman", "half pipe": "halfpipe", "skate park": "skatepark", "swim suit": "swimsuit",
    "bathing suit": "swimsuit", "swimming suit": "swimsuit", "skate boarder": "skateboarder",
    "snow boarder": "snowboarder", "snow mobile": "snowmobile", "snow suit": "snowsuit", "wheel barrow": "wheelbarrow",
    "business man": "businessman", "business woman": "businesswoman", "swimming trunks": "swim trunks",
    "rollercoaster": "roller coaster", "pingpong": "ping pong", "zip-line": "zip line",
}  # fmt: skip
