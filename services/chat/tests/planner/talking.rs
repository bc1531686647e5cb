//! Small talk, help, refusals, things imagined, other languages: nothing is touched, and mostly
//! nothing is even read.

use crate::talk::Talk;

const TASKS: &[&str] = &["Buy milk", "Pay rent", "Dentist", "x Call mom", "yes", "thanks"];

/// Says it and expects no write and a reply with one of the words.
fn says(message: &str, words: &str) {
    let mut talk = Talk::with(TASKS);
    let reply = talk.say(message);
    assert!(talk.fake.effects.is_empty(), "{message}: {:?}", talk.fake.effects);
    assert!(words.split('|').any(|word| reply.to_lowercase().contains(word)), "{message}: {reply}");
}

#[test]
fn small_talk_touches_nothing() {
    for message in ["hi", "Hello!", "hey there", "good morning", "Hi Errand", "hello again"] {
        says(message, "hello");
    }
    for message in ["thanks", "thank you so much!", "Thanks a lot", "great, thanks", "ok thank you", "cheers"] {
        says(message, "welcome");
    }
    for message in ["bye", "good night", "see you later", "goodbye!"] {
        says(message, "goodbye");
    }
    says("how are you?", "fine");
    says("hi, how are you today?", "fine");
    says("who are you?", "assistant");
    says("are you a robot", "assistant");
    for message in
        ["help", "what can you do?", "how does this work", "Can you help me?", "hi, what can you do", "I need help"]
    {
        says(message, "for example");
    }
    for message in ["ok", "great", "cool", "nice one", "perfect!", "sounds good"] {
        says(message, "good");
    }
    for message in ["yes", "sure", "do it"] {
        says(message, "nothing to confirm");
    }
    for message in ["no", "never mind", "cancel", "forget it", "stop", "No thanks"] {
        says(message, "nothing was changed|all right");
    }
}

#[test]
fn refusals_and_fancies_touch_nothing() {
    for message in [
        "don't delete buy milk",
        "please don't delete the milk",
        "do not complete pay rent",
        "never delete pay rent",
        "don't add buy bread",
        "you should not delete milk",
        "I don't want to delete the milk task",
        "no need to complete rent",
        "I didn't say delete milk",
        "let's not delete milk",
        "stop deleting milk",
        "don't mark rent as done",
        "what if I delete milk?",
        "what happens if I complete pay rent",
        "should I delete buy milk?",
        "if I finish the rent, delete milk",
        "suppose I deleted milk",
        "I might delete milk later",
        "maybe I should delete milk",
        "I'm thinking of deleting milk",
        "I was going to delete milk",
        "I could complete rent",
        "would it be ok to delete milk",
        "could I delete milk?",
        "do you think I should delete milk",
        "I almost bought milk",
        "I forgot to buy milk",
        "I tried to pay rent",
        "I wanted to delete milk",
        "how do I delete a task?",
        "how can I mark milk as done?",
        "why did you delete milk?",
        "who deleted milk?",
        "is it possible that someone deleted milk",
        "I'll buy milk tomorrow",
        "my wife bought milk",
        "the milk",
        "milk",
        "deleting milk",
        "I will complete rent soon",
        "once I pay rent, mark it as done",
        "I wish I had paid rent",
        "he said \"delete buy milk\"",
        "delete nothing",
        "I never bought milk",
        "did you delete buy milk?",
        "have you completed rent?",
        "can you delete tasks?",
        "complete milk and delete rent",
        "delete milk, then complete rent",
        "Delete milk. Complete rent.",
        "Don't delete milk. Complete rent.",
        "rename",
        "undo",
    ] {
        let mut talk = Talk::with(TASKS);
        let reply = talk.say(message);
        assert!(talk.fake.effects.is_empty(), "{message}: {:?} {reply}", talk.fake.effects);
    }
}

#[test]
fn what_is_not_understood_is_said_with_examples() {
    for message in
        ["asdf qwer", "42", "???", "🎉", "colourless green ideas sleep furiously", "-", "\"\"", "buffalo buffalo"]
    {
        says(message, "did not understand|what should i do");
    }
    for message in ["what's the weather?", "tell me a joke", "who won the match", "how many people live in Paris?"] {
        says(message, "for example");
    }
}

#[test]
fn other_languages_are_told_so() {
    for message in [
        "Füge bitte Milch kaufen hinzu",
        "Lösche alle meine Aufgaben",
        "ich habe Milch gekauft",
        "ajoute acheter du lait demain",
        "supprime mes tâches",
        "añade comprar leche mañana",
        "hola, qué tengo para hoy",
        "adicione comprar leite amanhã",
        "aggiungi comprare latte domani",
        "добавь купить молоко",
        "牛乳を買うを追加して",
        "أضف شراء الحليب",
        "dodaj kup mleko jutro",
    ] {
        says(message, "english");
    }
}

#[test]
fn several_sentences_are_read_together() {
    let mut talk = Talk::with(TASKS);
    talk.say("Hello! I went to the shop. I bought milk.");
    assert_eq!(talk.fake.effects, ["complete Buy milk"]);
    let reply = talk.say("Add call bob tomorrow. The quick brown fox.");
    assert_eq!(talk.fake.effects.len(), 2);
    assert!(reply.contains("did not understand “The quick brown fox"), "{reply}");
}
