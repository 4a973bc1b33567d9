//! A row that cannot be stored never keeps the others from being stored.

use super::*;

#[tokio::test]
async fn a_row_of_an_absurd_day_is_set_aside_and_the_others_are_written() {
    let engine = start().await;
    let absurd = Sample::numbered(1, engine.now().plus(DAY * 40_000));
    let plain = Sample::numbered(2, engine.now());
    let records = vec![absurd.accepted(), plain.accepted(), plain.delivered(position(1, 0))];
    apply(&engine.store, records.clone()).await.expect("the others are written");
    apply(&engine.store, records).await.expect("again");
    assert_eq!(status_of(&engine.store, &plain).await, Some(DeliveryStatus::Delivered));
    assert_eq!(status_of(&engine.store, &absurd).await, None);
    assert_eq!(count(&engine.url, "SELECT count(*) FROM log_refused").await, 2, "its event and its delivery");
}

#[tokio::test]
async fn a_row_that_the_server_refuses_is_found_and_set_aside() {
    let engine = start().await;
    let samples: Vec<Sample> = (0..50).map(|number| Sample::numbered(number, engine.now())).collect();
    // Stands for any row that cannot be stored: the server refuses one event of the batch, whatever the reason.
    let client = harness::postgres::connect(&engine.url).await.expect("the server answers");
    client
        .batch_execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
                BEGIN RAISE EXCEPTION 'refused' USING ERRCODE = '22000'; END $$;
             CREATE TRIGGER refuse BEFORE INSERT ON events FOR EACH ROW WHEN (NEW.id = 'evt_17')
                EXECUTE FUNCTION refuse()",
        )
        .await
        .expect("it is made");
    apply(&engine.store, samples.iter().map(Sample::accepted).collect())
        .await
        .expect("the others are written");
    assert_eq!(count(&engine.url, "SELECT count(*) FROM events").await, 49);
    assert_eq!(count(&engine.url, "SELECT count(*) FROM deliveries").await, 50);
    let refused = "SELECT count(*) FROM log_refused WHERE kind = 'event' AND id = 'acme/evt_17'";
    assert_eq!(count(&engine.url, refused).await, 1);
    assert_eq!(soon(engine.log().refused_rows()).await.expect("it answers"), 1);
    let kept = soon(engine.log().drop_days_before(engine.now().day())).await;
    kept.expect("it answers");
    assert_eq!(soon(engine.log().refused_rows()).await.expect("it answers"), 1, "it was refused only now");
    client
        .batch_execute("UPDATE log_refused SET refused_at = now() - interval '40 days'")
        .await
        .expect("old");
    soon(engine.log().drop_days_before(engine.now().day().plus(-30))).await.expect("it answers");
    assert_eq!(soon(engine.log().refused_rows()).await.expect("it answers"), 0, "with the days of its time");
}

/// One of each kind among fifty deliveries, by whatever the server finds wrong with it.
#[tokio::test]
async fn one_poison_row_of_each_table_is_set_aside_and_the_batch_is_written() {
    let engine = start().await;
    let samples: Vec<Sample> = (0..50).map(|number| Sample::numbered(number, engine.now())).collect();
    let client = harness::postgres::connect(&engine.url).await.expect("the server answers");
    let poison = |table: &str, column: &str, id: String| {
        format!(
            "CREATE TRIGGER refuse BEFORE INSERT ON {table} FOR EACH ROW WHEN (NEW.{column} = '{id}')
                EXECUTE FUNCTION refuse();"
        )
    };
    let hex = |sample: &Sample| format!("{:032x}", sample.id().as_u128());
    let refusing = [
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN RAISE EXCEPTION 'refused' USING ERRCODE = '54000'; END $$;"
            .to_owned(),
        poison("deliveries", "id", hex(&samples[7])),
        poison("attempts", "delivery", hex(&samples[17])),
        poison("response_bodies", "delivery", hex(&samples[27])),
        poison("waiting_room", "delivery", hex(&samples[37])),
    ];
    let far = engine.now().plus(DAY);
    soon(engine.log().prepare_days(engine.now().day(), engine.now().day())).await.expect("it is made");
    client.batch_execute(&refusing.join("\n")).await.expect("it is made");
    let records = samples.iter().flat_map(|sample| {
        let why = postrider_contract::outcome::HoldReason::Overflow;
        [
            sample.accepted(),
            sample.unreached(position(1, 0), far),
            sample.retried(position(2, 0), far),
            sample.held(position(3, 1), why, engine.now()),
        ]
    });
    apply(&engine.store, records.collect()).await.expect("the others are written");
    for (table, rows) in [("events", 50), ("deliveries", 49), ("attempts", 48), ("waiting_room", 49)] {
        assert_eq!(count(&engine.url, &format!("SELECT count(*) FROM {table}")).await, rows, "{table}");
    }
    let whole = "SELECT count(*) FROM log_refused WHERE reason LIKE 'refused%'";
    assert_eq!(count(&engine.url, whole).await, 4, "one of each, with the server's word");
    // Of the two tries that are missing, one was refused for its body.
    assert_eq!(count(&engine.url, "SELECT count(*) FROM response_bodies").await, 48);
}
