"""Words as captions use them: the closed classes, and which reading an English word of several readings prefers.

Plain sets of lower-case words. The preferences were set by hand, for words where a general lexicon lists a noun that
captions hardly ever mean ("red", "stand", "while"). Knows no rules: `mining.text.tagging` has those.
"""

from __future__ import annotations

__all__ = [
    "ADJECTIVES", "ADVERBS", "ANIMATE", "AUXILIARIES", "CONJUNCTIONS", "DETERMINERS", "FOREIGN", "HEAD_ADJECTIVES",
    "ING_NOUNS", "MODALS", "NOUNS",
    "NUMBERS", "ONLY_VERBS", "PLURALS", "PREPOSITIONS", "PRONOUNS", "RELATIVES", "SINGULAR", "STOP_NOUNS", "VERBS",
]  # fmt: skip


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


SINGULAR = _words("a an one another each every")
NUMBERS = _words(
    """two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen twenty thirty forty
    fifty hundred hundreds thousand thousands dozen dozens several many few both most more less all half some any no"""
)
DETERMINERS = SINGULAR | NUMBERS | _words("the this that these those his her its their my our your such same")
PRONOUNS = _words(
    """he she it they we i you him them us me who whom himself herself itself themselves someone somebody something
    anyone anybody anything everyone everybody everything nobody nothing each other others whoever yourself what
    whatever hers theirs mine ours im it's there here myself"""
)
RELATIVES = _words("who which that")
CONJUNCTIONS = _words(
    "and or but & + nor plus then so because if when where while as whilst than though although how why"
)
PREPOSITIONS = _words(
    """about above across after against along alongside amid amidst among amongst around at atop before behind below
    beneath beside besides between beyond by down during except for from in inside into like near next of off on
    onto out outside over past per since through throughout till to toward towards under underneath until up
    upon upside via with within without aboard opposite w/ amoung infront versus vs"""
)
ADVERBS = _words(
    """very too also just not n't almost nearly away apart together back forward forwards backward backwards sideways
    ahead aside now today yesterday tomorrow still yet already again once twice ever never always sometimes often
    only even quite rather really well outdoors indoors overhead upstairs downstairs upward upwards downward
    downwards home someplace somewhere everywhere else maybe perhaps soon later about midair nearby abroad afar
    aloft alone straight downhill uphill likely please underwater barefoot far close closer hard fast enough
    up-close neither either downtown headfirst mid high low halfway early late"""
)
AUXILIARIES = _words(
    """is are was were be been being am has have had having do does did doing done can could will would shall should
    may might must 's 're 've 'll get gets getting got seem seems appear appears become becomes isn aren doesn don
    isn't aren't don't doesn't won't can't cannot let lets"""
)

# Mostly adjectives in captions, though a lexicon lists them as nouns too. Colours are never nouns here.
ADJECTIVES = _words(
    """red green blue yellow white black brown pink purple grey gray tan beige teal violet maroon navy turquoise cyan
    magenta crimson scarlet lavender indigo khaki silver golden dark pale bright colorful colored coloured colourful
    multicolored multi-colored multicolor colour reddish striped spotted plaid checkered young old little small big
    large huge tiny tall short long high low wide narrow deep giant mini miniature medium medium-sized massive
    enormous great grand fat thin thick skinny slim wet dry damp hot warm cool snowy icy frozen wild tame busy quiet
    loud calm full empty open shut clear clean dirty dusty muddy sandy grassy rocky fluffy shaggy furry hairy bald
    curly smooth rough round flat sharp steep sloped slippery heavy public private rural urban local foreign
    professional amateur homeless elderly middle-aged teenage fellow pregnant naked nude topless shirtless
    barefooted happy sad angry serious silly funny fancy casual formal fake real fair good bad better best nice
    pretty beautiful cute handsome lovely free safe main major minor first second third fourth fifth last next final
    only single double triple multiple various different similar opposite other own same several certain new ancient
    antique vintage classic modern old-fashioned western eastern northern southern military natural musical human
    electric electrical electronic industrial commercial residential medical chemical religious official royal
    national international oriental african asian american british chinese japanese mexican indian european
    caucasian german french italian spanish russian arctic tropical olympic inflatable plush overhead vertical
    horizontal diagonal parallel upper lower inner outer interior exterior front rear left right middle top bottom
    central aerial facial floppy pointy pointed bent broken fallen folded standard special favorite popular famous
    present past current recent quick slow fast rapid strong weak tough mighty able alert active asleep awake upset
    ill sick dead alive live living quiet solitary lone lonely alone twin super extra extreme lush fresh raw ripe
    sweet sour salty tasty spicy crisp crispy delicious plain rich poor cheap expensive fine rustic shallow solid
    hollow spare tight loose soft firm stiff spiral circular oval triangular rectangular plush fuzzy woolen wooden
    wooly woolly leafy bushy evergreen potted domestic domesticated captive crowded packed decorative ornate
    ornamental graphic protective makeshift mobile portable remote underground aquatic uphill perpendicular overcast
    sunny cloudy rainy foggy stormy windy upright transparent translucent opaque shiny glossy matte sparkly metallic
    dim blank bare raised elevated scenic historic historical tribal ethnic junior minor stray royal native brave
    bold wise smart gentle playful excited eager intense dramatic distant overweight obese disabled physical
    personal possible actual total whole entire complete average common overgrown rundown worn ragged torn used
    stuffed assorted mixed related crucial aging amused concerned interested surprised tired related fluorescent
    neon pastel murky barren quaint cozy crowded lit frosty brindle mini many-colored two-tone attractive adorable
    dressed ready opposing oncoming downward inverted outdoor indoor uptown back light-colored dark-colored far mid
    dual total fallen half-naked visible rival married off-road off-camera stuck waist-deep knee-deep long-haired
    short-haired dark-haired wind-up rolled-up lean intent due close just heavy-set toothless bearded masked"""
)

# Verbs first: a noun only behind a determiner or an adjective, or at the end of "a boat ride".
VERBS = _words(
    """abandon accept accompany act add adjust admire advance aim allow answer approach argue arrange arrive ask
    assemble assist attach attack attempt attend avoid await back bake balance bang bark bathe battle beat become
    beg begin bend bite blast blaze blend blow boast boil bounce bound break breathe bring browse brush build bump
    burn burst bury buy buzz call capture care carry carve cast catch cause change charge chase chat check cheer
    chew chop clap clash clean clear cling climb close coach collapse collect come compete complete congregate
    connect consider consist contain continue converse cook cover crash crawl cross crouch crowd cruise cry cuddle
    curl cut dance dangle dart dash decide deliver demonstrate descend dig dine dip direct discuss disembark display
    dive do drag draw dream dribble drift drink drive drop dunk eat embrace emerge enjoy enter erupt escape examine
    exchange exercise exit explain explore extend face fall fasten feature feed feel fetch fight file fill film find
    finish fire fit fix flap flash flee flex flip flow fly focus fold follow forage frolic frown gain gallop
    gallivant gather gaze get give glance gleam glide glow gnaw go grab graze greet grill grin grind grip groom grow
    guard guide hammer hang happen head hear heave help hike hit hoist hold hop hover hug hunt hurdle hurl ignite
    imitate include inspect interact interview jog join juggle jump keep kick kiss kneel knit knock know laugh
    launch lay lead lean leap learn leave lick lie lift line listen load lock look loom lounge love lunge make
    maneuver march marry match meet milk mingle miss mix mount move mow munch navigate near need nibble nip nudge
    observe occur offer open operate overlook own paddle park participate pass pat pause pay peck pedal peek peer
    perform pet pick pitch place play plunge point poke pop pose possess pounce pour practice prance pray prepare
    present press pretend proceed propel protest provide pull pump punch punt purchase push put raise rally reach
    read recline record reel reflect relax release remove repair require rest retrieve return reveal ride rip rise
    roam roast romp row rub run rush salute save say scatter scoop score scour scrape scratch scream search see sell
    send serve set sew shake share shave shoot shout show shut sing sip sit sketch skip slam slap sleep slice slide
    sling smell smile snap sniff snuggle soar speak speed spin spit splash split spot spread sprint sprinkle squat
    squeeze squint stack stand stare start stay steal steer step stick stir stop strap stretch strike stroke stroll
    strum struggle study surround swallow sweep swim swoop tackle take talk taste teach tear tell tend test think
    throw toast touch tow toss tour trail travel tread trek trot try tug tumble turn twirl twist unload use view
    visit wade wag wait wake walk wander want warn wash watch wave wear weave welcome whisper win wipe wish work
    wrap wrestle write yawn yell accelerate advertise appear approach assault board bow bowl brave cartwheel clutch
    compare console crunch cuddle dodge dump embark flail fling flirt frame grasp hide hover huddle hunch kayak leer
    lug lurch meander nap nod overtake patrol peak pile plant pluck pee poop portray race rappel rattle rear rebound
    resemble rest rinse rodeo rollerblade sag scold scramble scuba sell shed shine shove showcase sigh skate
    skateboard skid skim skydive slouch slump smash smirk snarl sneeze snorkel snow snowboard span spar spill squirt
    stalk stare stumble suck surf swing sway tag tease tip tilt tote tramp trick trudge tuck type unwrap wail wallow
    waterski whirl wield wind wink wonder worship cut record guide break wring zip zoom"""
)
# Nouns where they are a phrase's last word ("a male", "the light"), adjectives before another ("a light blue shirt").
HEAD_ADJECTIVES = _words("adult male female blonde blond brunette senior elder newborn adolescent square light tabby")

# Never nouns in captions, whatever the lexicon says ("watching the sun go down").
ONLY_VERBS = _words(
    "go come get take make see eat put keep bring hear say know give wear sit blow let throw carry hold"
)

# Plurals as they are, or with another form than -s.
PLURALS = _words("people sheep deer fish men women children police feet teeth oxen geese mice cattle moose aircraft")

# Behind one of these comes a verb, not a noun.
MODALS = _words("can could will would shall should may might must 'll can't won't cannot don't doesn't n't let lets")

# Of these, a plain noun is likelier where no subject stands before: "a wave", "on the swing", "in the park".
VERBS_SECOND = _words(
    """hammer handle perch plow sail scale shop shovel sink smoke spray tap tie vault whip float slice roll block peel
    back bowl board chop coach crowd drink face fire file frame head hurdle line match milk mount paddle park peak
    pet pile pitch place plant point race ramp row screen sling snow speed spot stack stick step trail trick wave
    wind slide swing skateboard snowboard kayak splash surf rodeo toast grill light film box fit track train board
    bow stroke glow cross crash display shed drop dance guard test game cover"""
)
VERBS -= VERBS_SECOND

# -ing words that name a thing. All others are what someone does.
ING_NOUNS = _words(
    """building railing clothing painting ceiling wedding ring string swing king thing wing evening morning awning
    lightning sling earring bedding lighting scaffolding siding icing frosting stuffing pudding drawing carving
    clearing crossing landing opening meeting gathering outing sibling duckling gosling sapling seedling darling
    dwelling decking paneling grating plating tubing piping wiring ducting upholstering housing flooring outcropping
    marking fitting covering coating wrapping topping filling ping spring herring bling offspring fling shilling
    dumpling inning lining netting webbing padding shavings etching engraving mooring upbringing viking sing-sing
    ding bunting batting guttering roofing paving filings trimming hamstring drawstring shoestring greeting writing
    handwriting lettering underling foundling yearling footing"""
)

# Nouns that the lexicon lacks, mostly younger or closed compounds, brands that became words, breeds.
NOUNS = _words(
    """bar log pan dam tin stud trunk drapes handcuffs accessory lounge lab reflection dumpster duffel raceway
    carabiner burger bow-tie clarinet crouton cymbal doghouse dog-house doormat fridge gallery kale locket mole
    ottoman ox pepperoni placemat salsa stocking desktop letterbox merry-go-round sombrero aubergine skillet
    tambourine maraca gramophone yo-yo jack-in-the-box zeppelin wheeler barbwire barb-wire boogie teddy disc condo
    clothesline drawbridge cornbread cocoa entranceway fedora fairway fieldstone fastball gravestone guardhouse
    handhold handshake hatchback houseboat jumbotron kitchenette lectern milkweed moonlight nightstand nightgown
    overcoat pegboard quesadilla racecar racetrack rowboat sawhorse showroom spotlight stairwell steamboat
    stepladder stovetop sunbeam sundae sunlight teapot teacup thunderstorm toolbox toothpick typewriter undershirt
    videogame washcloth wastebasket waterslide weathervane whiteboard windbreaker wristband wristwatch yearbook
    sunbather graffiti confetti barbecue frisbee rugby motocross bmx snowboarder skateboarder sunglasses cellphone
    wetsuit mohawk handstand bandana bandanna atv wheelie hoodie terrier rollerblader rollerblade headscarf
    boardwalk innertube tattoo snowsuit pitbull kayaker doberman suv parka hardhat dreadlocks cafe wakeboarder
    wakeboard tv trashcan seagull tutu snowbank labrador dalmatian windsurfer beret beanie jumpsuit tracksuit
    parasail parasailer paintball bicycler tiara surfboarder sidecar corgi chairlift waterski storefront speedo
    rollerskate riverbank popsicle pajama pajamas pyjamas limo kart go-kart icicle hairstyle groomsman firetruck
    countertop cop wildflower tugboat sundress skydiver skatepark segway rollerskater plush kimono musher igloo
    facepaint earpiece campsite blacktop beachgoer basset archway windowsill weimaraner waterfront sweatshirt
    sweatband stuntman sledder satchel sandpit rottweiler rollercoaster rockstar pom-pom pinstripe paraglider
    paddler moonwalk lunchbox lassie labradoodle ipod headwrap headlamp harmonica goatee gazebo dirtbike crevasse
    bullhorn bicyclist astroturf alleyway collie poodle beagle husky dachshund schnauzer chihuahua greyhound spaniel
    retriever shepherd bulldog bullmastiff mastiff malamute pomeranian shih-tzu whippet setter smartphone laptop
    webcam selfie emoji website app touchscreen flatscreen microwave toaster blender backsplash t-shirt shirt tee
    tank-top jetski jet-ski drone quadcopter skyscraper highrise streetlight streetlamp lamppost signpost billboard
    crosswalk sidewalk curb motorbike moped scooter minivan pickup semitruck forklift bulldozer bungee trampoline
    longboard paddleboard surfboard boogieboard bodyboard kneeboard kiteboard kitesurfer hang-glider snowmobile
    snowmobiler snowball snowman snowflake snowshoe snowplow snowboard skateboard sandcastle sandbox tabletop
    rooftop hilltop mountaintop hillside mountainside roadside lakeside riverside seaside poolside trackside
    headphones earphones earbuds headset flipflop flip-flops sneaker sneakers leggings tights capris overalls
    flannel jeans slacks underwear swimsuit swimwear sportswear bikini thong bra onesie tuxedo scrunchie ponytail
    pigtail dreadlock afro mustache moustache eyeglasses eyebrow eyelash fingernail toenail pacifier stroller
    playpen playhouse playground treehouse birdhouse doghouse greenhouse lighthouse warehouse farmhouse townhouse
    courthouse boathouse outhouse guardrail handrail turnstile parquet laminate linoleum formica countryside
    woodland wetland grassland farmland cornfield hayfield haystack haybale tumbleweed bonsai succulent sunflower
    dandelion daffodil tulip hydrangea zucchini broccoli cupcake cheesecake pancake waffle donut doughnut croissant
    bagel burrito taco quesadilla sushi ramen pizza lasagna spaghetti noodles cheeseburger hamburger hotdog ketchup
    mayo mozzarella guacamole hummus espresso latte cappuccino smoothie milkshake lemonade merlot cabernet beer
    toddler preschooler teen teenager tween pre-teen cowgirl cowboy cheerleader goalie goalkeeper quarterback
    linebacker wrestler bullfighter matador bmx-er biker motocrosser motorcyclist bystander onlooker passerby
    pedestrian spectator crossing-guard mime guitarist drummer bassist saxophonist violinist dj emcee barista
    bartender chef firefighter policeman policewoman fisherman businessman businesswoman salesman cameraman mailman
    lifeguard bodyguard bride bridesmaid groom santa jesus buddha giraffe zebra meerkat wildebeest alpaca llama
    orangutan otter jellyfish clownfish koi downspout satellite rearview windshield dashboard headlight taillight
    bumper hubcap sunroof seatbelt keyboard trackpad touchpad mousepad printer router modem charger usb dvd cd pc
    mac playstation xbox wii nintendo wiimote"""
)

# Who and what can act: a word behind one of these that may be a verb probably is.
ANIMATE = _words(
    """man woman child boy girl person people kid baby toddler infant lady guy gentleman dog puppy cat kitten horse
    pony bird player rider skier snowboarder skateboarder surfer biker cyclist bicyclist motorcyclist runner swimmer
    climber hiker dancer singer musician performer artist worker officer policeman fireman firefighter soldier
    teenager teen youth adult couple group crowd team family friend brother sister mother father parent son daughter
    husband wife bride groom student teacher cowboy athlete boxer wrestler goalie gymnast cheerleader racer driver
    skater diver fisherman spectator fan member lady male female cow bull calf sheep goat lamb pig duck goose swan
    chicken hen rooster bear elephant giraffe zebra lion tiger monkey rabbit squirrel deer fox wolf fish seagull
    pigeon eagle owl parrot camel donkey animal puppy retriever shepherd terrier poodle greyhound collie labrador
    dalmatian husky bulldog dachshund beagle spaniel hound mutt canine pup chihuahua corgi pitbull doberman
    rottweiler clown mime vendor waiter waitress chef pedestrian passenger businessman tourist traveler actor
    actress model photographer painter guitarist drummer violinist rower paddler kayaker sledder wakeboarder
    windsurfer rollerblader tennis-player pitcher batter catcher referee umpire coach bicycler skydiver boater
    sailor pilot doctor nurse opponent elder senior grandmother grandfather nun priest monk protester bather
    sunbather bystander kangaroo frog turtle snake lizard crab dolphin whale shark seal penguin otter butterfly bee
    ant spider insect cub"""
)

# Nouns that say nothing about what is seen: the picture itself, measures and places in it, and filler.
STOP_NOUNS = _words(
    """image photo shot photograph picture pic snapshot shot screenshot closeup close-up illustration photography view
    scene scenery background foreground backdrop caption thumbnail selfie portrait group side front back top bottom
    middle center centre left right lot kind sort type number couple pair bunch set piece bit part end edge corner
    direction way distance time moment day bunch row line area place spot position thing stuff object item something
    one other another section variety amount range series batch handful use case fact look turn break try attempt
    start stop progress gallery rest midst forefront mid-air midair air height length width size shape
    color colour style design detail feature
    lots plenty while outside inside past others all half third most more none few several dozen hundred thousand
    million ton tons load example version kinds instance name title text page site website url http https www com
    jpg jpeg png gif html img alt stock vector clipart clip-art wallpaper hd px pixel resolution download free sale
    price shipping order copy quality reason idea sense nothing everything anything someone somebody everyone action
    activity motion process mode fun please thanks total base-level person-level level attention am pm monday
    tuesday wednesday thursday friday saturday sunday january february april june july august september october
    november december year month week hour minute second yesterday today tomorrow"""
)

# Function words of other languages that are no English words: where they outweigh English ones, no noun is read.
FOREIGN = _words(
    """der das und ein eine einen einem einer mit auf ist im dem des von zu zum zur bei nach ueber auch wird nicht sind
    sich aus vor le les un une et dans sur avec est du pour qui sont une au aux el los las del con por para una y en
    es su unos unas que il lo gli di da nel nella con della che uno e sul het een op aan naar zijn em um uma na os
    dos das ao och ett med som av til og det er på w z na jest ve bir bu"""
)
