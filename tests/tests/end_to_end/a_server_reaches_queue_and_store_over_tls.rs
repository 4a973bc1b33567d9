//! With URLs that say so and a file of authorities, broker and database are talked to over TLS and by their names; and the
//! broker shows which process it is that is connected.

use anyhow::{Context, Result, ensure};
use postrider_tests::harness::{
    self, Certificates, Knobs, Postgres, RabbitMq, ServerOptions, TempFolder, TlsSetup,
};
use postrider_tests::stage::{Stage, only_delivery};
use serde_json::json;

mod cluster {
    #[tokio::test(flavor = "multi_thread")]
    async fn a_server_reaches_queue_and_store_over_tls_under_its_name() -> anyhow::Result<()> {
        super::a_server_reaches_queue_and_store_over_tls_under_its_name().await
    }
}

async fn a_server_reaches_queue_and_store_over_tls_under_its_name() -> Result<()> {
    let knobs = Knobs { tls: Some(TlsSetup::default()), ..Knobs::default() };
    let broker = RabbitMq::start_with(&knobs).await?;
    let (queue, of_broker) = broker.tls_url().context("it speaks TLS")?;
    let certificates = Certificates::make(&TlsSetup::default())?;
    let mut server = Postgres::start().await?;
    server.speak_tls(&certificates).await?;
    let store = format!("{}?sslmode=verify-full", server.create_database().await?);

    let folder = TempFolder::new("authorities")?;
    let authorities = folder.join("authorities.pem");
    let both = [of_broker, certificates.authority()].map(std::fs::read_to_string);
    let [of_broker, of_store] = both;
    std::fs::write(&authorities, of_broker? + &of_store?)?;
    let authorities = authorities.to_str().context("a name in UTF-8")?;
    let options = ServerOptions::cluster(&queue, &store).env("POSTRIDER_ENGINE_CA_FILE", authorities);
    let stage = Stage::open_with(options, "standard").await?;
    stage.webhook("/hook", "*", json!({})).await?;
    let accepted = stage.publish("a.b", json!({})).await?;
    stage.wait_for_status(&only_delivery(&accepted)?, "delivered").await?;

    let listed =
        broker.ctl(&["list_connections", "--no-table-headers", "-q", "ssl", "client_properties"]).await?;
    let ours: Vec<&str> = listed.lines().filter(|line| line.contains("postrider ")).collect();
    ensure!(!ours.is_empty(), "no connection of ours:\n{listed}");
    for connection in ours {
        ensure!(connection.starts_with("true\t"), "in the clear: {connection}");
        ensure!(connection.contains("\"postrider ingest,worker,status,manage@"), "who is it? {connection}");
    }
    let looking = harness::postgres::connect(&server.url("postgres")).await?;
    let sql =
        "SELECT count(*), count(*) FILTER (WHERE ssl) FROM pg_stat_activity JOIN pg_stat_ssl USING (pid)
        WHERE application_name LIKE 'postrider%'";
    let row = looking.query_one(sql, &[]).await?;
    let (ours, encrypted): (i64, i64) = (row.get(0), row.get(1));
    ensure!(ours > 0 && encrypted == ours, "{encrypted} of {ours} sessions are encrypted");
    Ok(())
}
