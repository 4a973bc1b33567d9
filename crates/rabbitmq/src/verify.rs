//! Compares what is on the broker with what we would declare, without changing anything.

use lapin::ExchangeKind;
use lapin::options::ExchangeDeclareOptions;
use lapin::types::FieldTable;

use crate::connection::Live;
use crate::error::TopologyError;
use crate::lane::LaneQueue;
use crate::topology::{
    QueueName, QueuePlan, Topology, close, declare_exchange, declare_queue, look_at_queue,
};

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
pub(crate) async fn verify(topology: &Topology, live: &Live) -> Result<Vec<Deviation>, TopologyError> {
    let mut deviations = Vec::new();
    for plan in topology.exchange_plans() {
        let object = plan.name.clone();
        let found = if exchange_exists(live, &plan.name, plan.kind.clone()).await? {
            let channel = live.open_channel().await?;
            let declared = declare_exchange(live, &channel, plan).await;
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
        let found = match compare_queue(live, plan).await? {
            Some(found) => found,
            None => Err(TopologyError::Missing("it does not exist".to_owned())),
        };
        deviations.extend(judge(object, found)?);
    }
    for lane in LaneQueue::all() {
        if let Some(found) = compare_queue(live, topology.lane_plan(lane)).await? {
            deviations.extend(judge(topology.lane_queue(lane), found)?);
        }
    }
    Ok(deviations)
}

/// `None` if there is no such queue. An existing queue may be declared again: that compares its arguments.
async fn compare_queue(
    live: &Live,
    plan: QueuePlan,
) -> Result<Option<Result<(), TopologyError>>, TopologyError> {
    let channel = live.open_channel().await?;
    match look_at_queue(live, &channel, &plan.name).await {
        Ok(_) => {}
        Err(TopologyError::Missing(_)) => return Ok(None),
        Err(mismatch @ TopologyError::Mismatch(_)) => return Ok(Some(Err(mismatch))),
        Err(error @ (TopologyError::Failed(_) | TopologyError::Stumbled(_) | TopologyError::NoAnswer(_))) => {
            return Err(error);
        }
    }
    let declared = declare_queue(live, &channel, &plan.name, plan.arguments).await;
    close(&channel).await;
    Ok(Some(declared))
}

async fn exchange_exists(live: &Live, name: &str, kind: ExchangeKind) -> Result<bool, TopologyError> {
    let channel = live.open_channel().await?;
    let options = ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
    match live.answer(channel.exchange_declare(name.into(), kind, options, FieldTable::default())).await {
        Ok(()) => {
            close(&channel).await;
            Ok(true)
        }
        Err(TopologyError::Missing(_)) => Ok(false),
        Err(
            error @ (TopologyError::Mismatch(_)
            | TopologyError::Failed(_)
            | TopologyError::Stumbled(_)
            | TopologyError::NoAnswer(_)),
        ) => Err(error),
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
        Err(error @ (TopologyError::Failed(_) | TopologyError::Stumbled(_) | TopologyError::NoAnswer(_))) => {
            Err(error)
        }
    }
}
