//! Compares what is on the broker with what we would declare, without changing anything.

use lapin::options::{ExchangeDeclareOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Connection, ExchangeKind};

use crate::error::TopologyError;
use crate::lane::Lane;
use crate::topology::{QueueName, QueuePlan, Topology, close, declare_exchange, declare_queue};

/// Something on the broker that is not as it should be, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deviation {
    /// The queue or exchange.
    pub object: String,
    pub problem: String,
    pub remedy: String,
}

/// Every object that is missing or has other arguments. A lane that is missing is none: lanes come on first
/// use. Bindings cannot be seen over AMQP; declaring sets them right.
pub(crate) async fn verify(
    topology: &Topology,
    connection: &Connection,
) -> Result<Vec<Deviation>, TopologyError> {
    let mut deviations = Vec::new();
    for plan in topology.exchange_plans() {
        let object = plan.name.clone();
        let found = if exchange_exists(connection, &plan.name, plan.kind.clone()).await? {
            let channel = connection.create_channel().await?;
            let declared = declare_exchange(&channel, plan).await;
            close(&channel).await;
            declared
        } else {
            Err(TopologyError::Missing("it does not exist".to_owned()))
        };
        deviations.extend(judge(object, found)?);
    }
    for queue in QueueName::ALL {
        let plan = topology.queue_plan(queue);
        let object = plan.name.clone();
        let found = match look_at_queue(connection, plan).await? {
            Some(found) => found,
            None => Err(TopologyError::Missing("it does not exist".to_owned())),
        };
        deviations.extend(judge(object, found)?);
    }
    for lane in Lane::all() {
        if let Some(found) = look_at_queue(connection, topology.lane_plan(lane)).await? {
            deviations.extend(judge(topology.lane(lane), found)?);
        }
    }
    Ok(deviations)
}

/// `None` if there is no such queue. An existing queue may be declared again: that compares its arguments.
async fn look_at_queue(
    connection: &Connection,
    plan: QueuePlan,
) -> Result<Option<Result<(), TopologyError>>, TopologyError> {
    let channel = connection.create_channel().await?;
    let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    match channel.queue_declare(plan.name.as_str().into(), options, FieldTable::default()).await {
        Ok(_) => {}
        Err(error) => {
            return match TopologyError::from(error) {
                TopologyError::Missing(_) => Ok(None),
                mismatch @ TopologyError::Mismatch(_) => Ok(Some(Err(mismatch))),
                failed @ TopologyError::Failed(_) => Err(failed),
            };
        }
    }
    let declared = declare_queue(&channel, &plan.name, plan.arguments).await;
    close(&channel).await;
    Ok(Some(declared))
}

async fn exchange_exists(
    connection: &Connection,
    name: &str,
    kind: ExchangeKind,
) -> Result<bool, TopologyError> {
    let channel = connection.create_channel().await?;
    let options = ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
    let looked = channel.exchange_declare(name.into(), kind, options, FieldTable::default()).await;
    match looked.map_err(TopologyError::from) {
        Ok(()) => {
            close(&channel).await;
            Ok(true)
        }
        Err(TopologyError::Missing(_)) => Ok(false),
        Err(error @ (TopologyError::Mismatch(_) | TopologyError::Failed(_))) => Err(error),
    }
}

/// Turns what was found about one object into what to tell; a failure of the connection ends the verifying.
fn judge(object: String, found: Result<(), TopologyError>) -> Result<Option<Deviation>, TopologyError> {
    match found {
        Ok(()) => Ok(None),
        Err(TopologyError::Missing(problem)) => {
            let remedy = "run `postrider topology declare`".to_owned();
            Ok(Some(Deviation { object, problem, remedy }))
        }
        Err(TopologyError::Mismatch(problem)) => {
            let remedy = "let it run empty, delete it, and run `postrider topology declare`".to_owned();
            Ok(Some(Deviation { object, problem, remedy }))
        }
        Err(error @ TopologyError::Failed(_)) => Err(error),
    }
}
