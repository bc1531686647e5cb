use super::*;

fn text(step: usize, number: u128, content: &str) -> Text {
    Text { step, id: id(number), content: content.to_owned() }
}

pub(crate) async fn what_is_being_written_is_kept_for_others_until_it_is_whole(store: &dyn Store) {
    let ann = user(ANN);
    let begin = |number| store.start_turn(ann, new_turn(number, Place::New(id(number)), "hello"), by_user(None));
    assert_eq!(begin(10).await.unwrap(), Begun::New);
    let keep = async |holder, text| store.keep_text(ann, id(10), id(holder), text).await.unwrap();
    let found = async |from| store.follow(ann, id(10), from).await.unwrap().unwrap().text;
    assert_eq!(found(1).await, None);
    assert!(keep(70, text(1, 5, "Hä")).await);
    assert!(keep(70, text(1, 5, "Hällo")).await);
    assert_eq!(found(0).await, Some(text(1, 5, "Hällo")), "whatever else is not known yet");
    assert_eq!(found(1).await, Some(text(1, 5, "Hällo")));
    assert_eq!(found(usize::MAX).await, None, "who only asks how it goes is not told");
    assert!(!keep(71, text(1, 6, "Of another")).await, "the turn is another's");
    assert!(!keep(70, text(2, 6, "Of later")).await);
    assert!(!store.keep_text(user(BOB), id(10), id(70), text(1, 6, "Bob's")).await.unwrap());
    assert!(!store.keep_text(ann, id(11), id(70), text(1, 6, "Of nothing")).await.unwrap());
    assert_eq!(found(1).await, Some(text(1, 5, "Hällo")));
    // Begun anew, by whoever has the turn then.
    store.release_lease(ann, id(10), id(70)).await.unwrap();
    assert!(!keep(70, text(1, 5, "Hällo?")).await);
    assert_eq!(store.take_lease(ann, id(10), lease(71), now()).await.unwrap(), Taken::Yes);
    assert!(keep(71, text(1, 6, "No")).await);
    assert_eq!(found(1).await, Some(text(1, 6, "No")));
    // Stored: what was written of it is not needed any more, and does not come back.
    assert!(
        store
            .append(ann, id(10), events(1, vec![asked(call("a", "list_tasks", serde_json::json!({})))]))
            .await
            .unwrap()
            .is_stored()
    );
    assert_eq!((found(1).await, found(2).await), (None, None));
    assert!(!keep(71, text(1, 6, "No?")).await);
    assert!(keep(71, text(2, 7, "Do")).await);
    assert_eq!(found(1).await, Some(text(2, 7, "Do")));
    assert!(
        store.append(ann, id(10), events(2, vec![turn::said("Done"), reply(10, "Done")])).await.unwrap().is_stored()
    );
    assert_eq!(found(4).await, None);
    assert!(!keep(71, text(4, 8, "More")).await, "it is over");
    // And what goes takes it along.
    assert_eq!(begin(20).await.unwrap(), Begun::New);
    assert!(store.keep_text(ann, id(20), id(70), text(1, 9, "Wo")).await.unwrap());
    assert_eq!(store.delete_conversation(ann, id(20), now(), by_user(None)).await.unwrap(), Deleted::Done);
    assert_eq!(store.follow(ann, id(20), 1).await.unwrap(), None);
}
