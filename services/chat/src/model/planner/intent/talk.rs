//! What surrounds a command, and talk that is none: greetings, thanks, refusals, things imagined,
//! questions about the assistant, other languages.

use super::super::words::{Clause, Kind, Word};
use super::Talk;

/// How a sentence begins, before what it wants.
#[derive(Debug, Default)]
pub(super) struct Opening<'t> {
    /// The rest, if there is one.
    pub(super) core: Option<Clause<'t>>,
    /// What the polite words alone mean.
    pub(super) talk: Option<Talk>,
    /// Whether it asks somebody to do it: "can you".
    pub(super) requested: bool,
    /// Whether it mends something: "actually", "no,".
    pub(super) corrects: bool,
    /// Whether it only asks whether it can be done: "can we".
    pub(super) doubtful: bool,
}

const GREETING: &[&str] = &[
    "hi|hello|hey|hiya|howdy|yo|greetings|heya there|again|assistant|errand|bot|friend|buddy|everyone|all?",
    "good morning|afternoon|evening|day",
    "morning|evening there?",
];
const THANKS: &[&str] = &[
    "thank you so|very much",
    "thanks a lot|bunch|million",
    "many thanks",
    "thank you for your|the help",
    "thanks for your|the help",
    "thanks so much",
    "thank you",
    "thanks",
    "cheers|thankyou",
    "much appreciated",
    "i appreciate it",
    "appreciate it",
];
const FINE: &[&str] = &[
    "sounds good|great|fine",
    "that's|thats|it's|looks all? fine|good|great|perfect|right|correct|awesome|nice",
    "that|this|it is|looks all? fine|good|great|perfect|right|correct|awesome|nice",
    "very good|nice|well",
    "well done",
    "good job|work|bot",
    "nice work|job|one",
    "all good|right",
    "got it",
    "i see",
    "makes sense",
    "ok|okay|k|alright|great|cool|nice|perfect|awesome|excellent|good|wonderful|super|fine|lovely|right|understood|amazing|brilliant|wow|lol|haha|hm|hmm|oh|ah|aha",
];
const YES: &[&str] = &[
    "yes|yeah|yep|yup|sure|yea|aye|definitely|absolutely|indeed|y",
    "of course",
    "go ahead",
    "do it|so|that",
    "please do",
];
const NO: &[&str] = &[
    "no thanks",
    "no thank you",
    "never mind",
    "nevermind",
    "not now",
    "forget it|that|about? it|that?",
    "none of them|these|those|the? above?",
    "neither of? them?",
    "none",
    "nothing",
    "no|nope|nah|n",
];
/// As [`NO`], but also the start of a command: only alone.
const HALT: &[&str] = &["cancel that|this|it?", "stop that|it?", "leave it|them|that alone?", "abort", "skip it|that?"];
const FILLER: &[&str] = &[
    "please|kindly|just|only|also|so|well|um|uh|btw|anyway|errand|assistant|finally|now|then|oops|ok|okay|alright|great|quickly|simply|hmm|oh|ah",
    "by the way",
    "one more thing",
    "and",
    "go ahead and",
    "be so kind and|as? to?",
    "do me a favor|favour and|:?",
];
const REQUEST: &[&str] = &[
    "can|could|would|will you please|kindly|maybe|possibly|just|also|now? please?",
    "would you mind",
    "are you able to",
    "is it possible to",
    "i|we want|need|like you to please?",
    "i|we would like you to",
    "i'd|we'd like you to",
    "i'd|we'd like|love to",
    "i|we would like|love to",
    "i want to",
    "i wanna",
    "i wish to",
    "you can|may|should|could now?",
    "let's|lets",
    "let us",
    "help me to? please?",
    "can|could|may i|we please? see|get|have",
    "i need you to",
    "feel free to",
    "make sure to|you",
    "be sure to",
];

/// Refusals.
const NEVER: &[&str] = &[
    "don't|never|not",
    "do not",
    "please don't|never|not",
    "you don't|shouldn't|needn't|mustn't|can't",
    "you do|should|must not",
    "i don't|do|wouldn't|won't want|need|like|wish",
    "i do not want|need|like",
    "i'd rather not",
    "i would rather not",
    "i wouldn't|won't|will not?",
    "i'm not going to",
    "no need to|for",
    "there's|there is no need to",
    "let's not",
    "let us not",
    "stop|avoid|quit|refrain from?",
    "nobody should|said|asked|told",
    "no one should|said|asked|told",
    "under no circumstances",
    "leave",
    "keep",
    "instead of",
];
/// Things only thought of.
const IMAGINED: &[&str] = &[
    "if",
    "what if",
    "what would|will|happens|happen",
    "what happens",
    "suppose|supposing|imagine|assume|assuming|hypothetically|theoretically|pretend",
    "let's say",
    "say i|we",
    "should i|we",
    "could|may|can|might|must i|we",
    "shall i|we",
    "maybe|perhaps|possibly|probably",
    "i might|may|could|should|would|wonder|think|guess|doubt|hope|dream|consider|considered",
    "i'd",
    "i'm|was|am|keep thinking|wondering|considering|tempted|unsure|not|planning|debating",
    "i was|am thinking|wondering|considering|tempted|unsure|about|going|planning",
    "i almost|nearly|wanted|forgot|tried|planned|hoped|intended|thought|said|promised|started|decided|wish|wished|will|am|was|hate|love|like|feel|failed|missed|skipped",
    "i'll",
    "i'm going|about to",
    "would|will it|that|this|i|deleting|removing|completing",
    "is it ok|okay|safe|wise|possible|bad|good|better",
    "do you think",
    "how about|come",
    "why",
    "when|once|unless|until|before|after i|we",
];
/// Talk that is a whole sentence, and what it means.
const WHOLE: &[(&[&str], Talk)] = &[
    (YES, Talk::Yes),
    (NO, Talk::No),
    (GREETING, Talk::Greeting),
    (THANKS, Talk::Thanks),
    (FINE, Talk::Fine),
    (
        &[
            "bye bye?",
            "goodbye|cya|ciao",
            "good night|bye",
            "see you later|soon|tomorrow|around?",
            "have a good|nice|great day|one|evening|night|weekend",
            "that's|that is all for? now|today?",
            "talk to you later|soon",
        ],
        Talk::Bye,
    ),
    (
        &[
            "how are|r you doing|today|feeling? today?",
            "how do you do",
            "how's it going",
            "how is it going",
            "how's everything|life",
            "what's up",
            "how are things",
            "you ok|okay|there",
            "are you ok|okay|there|well|fine",
        ],
        Talk::HowAreYou,
    ),
    (
        &[
            "who are you",
            "what are you",
            "what's|what is your name",
            "are you a|an? human|robot|bot|ai|person|real|assistant|llm|model|machine|chatgpt|computer",
            "who made|built|created you",
            "tell me about yourself",
        ],
        Talk::Who,
    ),
    (
        &[
            "help me? out? please?",
            "i need some|your? help",
            "can|could you help me? out? please?",
            "what can|do you do for? me? exactly?",
            "what else? can you do",
            "what can i do|say|ask you|here|with? you|this?",
            "what do you do|offer|support",
            "how does this|it work",
            "how do|can i use this|you|it",
            "how do you work",
            "what are your commands|features|abilities|capabilities|options",
            "commands|usage|instructions|menu|options",
            "what are you able to do",
            "how can you help me?",
            "show me? help|commands",
            "what is this",
            "what should i say|type",
            "do you understand|speak english",
        ],
        Talk::Help,
    ),
];

/// Takes greetings, polite words and requests off the start of a sentence.
pub(super) fn opening(sentence: Clause<'_>) -> Opening<'_> {
    let mut opening = Opening::default();
    let mut rest = sentence;
    loop {
        rest = rest.trim_start();
        if rest.is_empty() {
            return opening;
        }
        let start = rest.from;
        if let Some(after) = said(rest, YES) {
            opening.talk = Some(Talk::Yes);
            rest = after;
        } else if let Some(after) =
            said(rest, NO).or_else(|| rest.eat(HALT).filter(|after| after.words().first().is_none_or(is_mark)))
        {
            opening.talk = Some(Talk::No);
            opening.corrects = true;
            rest = after;
        } else if let Some(after) = said(rest, GREETING) {
            opening.talk.get_or_insert(Talk::Greeting);
            rest = after;
        } else if let Some(after) = said(rest, THANKS) {
            opening.talk = opening.talk.filter(|talk| matches!(talk, Talk::No | Talk::Yes)).or(Some(Talk::Thanks));
            rest = after;
        } else if let Some(after) = said(rest, FINE) {
            opening.talk.get_or_insert(Talk::Fine);
            rest = after;
        } else if let Some(after) = rest.eat(&["i was just? thinking|wondering ,? maybe?"]).filter(|after| {
            // "I was thinking, please remind me": what follows is asked for.
            after.eat(&["please", "can|could|would you"]).is_some()
        }) {
            rest = after;
        } else if let Some(after) =
            rest.eat(&["actually|wait|sorry|correction|oops", "i mean", "scratch that", "on second thought"])
        {
            opening.corrects = true;
            rest = after;
        } else if let Some(after) = rest
            .eat(&["can|could|shall we please|maybe|just?", "would|could it be possible to"])
            .filter(|after| has_word(*after))
        {
            opening.doubtful = true;
            rest = after;
        } else if let Some(after) = requested(rest) {
            opening.requested = true;
            rest = after;
        } else if let Some(after) = rest.eat(FILLER)
            && (!after.is_empty() || opening.talk.is_some())
        {
            rest = after;
        }
        if rest.from == start {
            opening.core = Some(rest);
            return opening;
        }
    }
}

fn is_mark(word: &Word) -> bool {
    word.kind == Kind::Mark
}

/// What follows one of these, when it stands apart: at the end, or before a mark or a clear start.
fn said<'t>(rest: Clause<'t>, patterns: &[&str]) -> Option<Clause<'t>> {
    patterns.iter().find_map(|pattern| {
        let after = rest.eat(&[pattern])?;
        let apart = after.words().first().is_none_or(is_mark);
        let clear = after
            .eat(&[
                "thanks|thank|please|can|could|would|will|i|i'm|i've|i'd|add|show|list|what|what's|how|how's|remind|delete|remove|complete|mark|move|rename|the|do|did|is|are|and|but|so|there|you|that|that's|it's|make|put|have|let's|who|who's|bye|goodbye|hello|hi|hey|never|just|wait|sorry|actually",
            ])
            .is_some();
        (apart || clear).then_some(after)
    })
}

/// What follows "can you" and the like. A plain wish of the user's own ("I want to") counts only
/// before a command, which the readers after this decide.
fn requested(rest: Clause<'_>) -> Option<Clause<'_>> {
    let after = rest.eat(REQUEST)?;
    let own_question = rest.eat(&["can|could|may i|we"]).is_some();
    let about_me = after.is(&["do", "do for me", "help", "help me", "help me out", "do exactly", "do this", "hear me"]);
    let not = after.eat(&["not", "never"]).is_some();
    let to_see = rest.eat(&["can|could|may i|we please? see|get|have"]).is_some();
    (has_word(after) && !about_me && !not && (to_see || !own_question)).then_some(after)
}

fn has_word(clause: Clause<'_>) -> bool {
    clause.words().iter().any(|word| word.kind != Kind::Mark)
}

/// Whether a sentence refuses or only imagines something.
pub(super) fn refusal(core: Clause<'_>, requested: bool) -> Option<Talk> {
    if core
        .eat(&["don't|never forget", "don't|never let me|us forget", "do not forget", "do not let me|us forget"])
        .is_some()
    {
        return None;
    }
    if core.eat(NEVER).is_some() {
        return Some(Talk::Negated);
    }
    if !requested && core.eat(IMAGINED).is_some() {
        return Some(Talk::Imagined);
    }
    if core
        .eat(&["how do|can|could|would|should|to i|we|you|one?", "how does|is one|it|a", "what's the|is the way to"])
        .is_some()
        && core.eat(&["how do|are you do|doing", "how many|much"]).is_none()
    {
        return Some(Talk::HowTo);
    }
    None
}

/// Talk that is a whole sentence.
pub(super) fn whole(core: Clause<'_>) -> Option<Talk> {
    let core = core.trim();
    WHOLE.iter().find(|(patterns, _)| core.is(patterns)).map(|(_, talk)| *talk)
}

/// Whether a sentence that nothing else could read is a question or a remark of another kind.
pub(super) fn question(core: Clause<'_>) -> Option<Talk> {
    core.eat(&[
        "what|who|whose|whom|which|where|why|how|when|what's|who's|where's",
        "is|are|was|were|do|does|did|has|have|had|am|can|could|will|would",
        "tell me a|an|some|another",
        "sing|play|open|order|book|turn|search|google|translate|calculate|write me|us|a|an|the|on|off|for",
    ])
    .map(|_| Talk::Elsewhere)
}
