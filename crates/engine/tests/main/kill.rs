//! Killed at each durable step of create, update and delete, one by one, the engine reaches the same
//! end: nothing doubled, nothing orphaned.

use engine::{Engine, StackId};

use crate::lab::{Lab, caller, change, files, node, node_or_cut, states, want};
use crate::nodes::CLOUD;

const MEMBER: &str = "
heat_template_version: 2016-10-14
parameters: {word: {type: string}}
resources:
  secret: {type: OS::Heat::RandomString}
  port: {type: OS::Neutron::Port, properties: {name: {get_param: word}, network: ctlplane}}
outputs:
  secret: {value: {get_attr: [secret, value]}}
";

/// The cloud of the other tests, with nested stacks.
fn small() -> String {
    CLOUD.replace(
        "outputs:",
        "  nested: {type: member.yaml, properties: {word: inner}}
  group:
    type: OS::Heat::ResourceGroup
    properties:
      count: 2
      resource_def: {type: member.yaml, properties: {word: 'member-%index%'}}
outputs:",
    )
}

/// Changed in place, replaced, added and removed resources.
fn changed() -> String {
    small()
        .replace("count: 2", "count: 1")
        .replace(
            "name: port, network",
            "name: port, mac_address: 'fa:16:3e:00:00:99', network",
        )
        .replace("word: inner", "word: other")
        .replace("default: hello", "default: bye")
        .replace(
            "outputs:",
            "  more: {type: OS::Neutron::Net, properties: {name: more}}\noutputs:",
        )
}

#[derive(Clone, Copy, PartialEq)]
enum Step {
    Create,
    Update,
    Delete,
}

fn member_files() -> hot::Files {
    files(&[("member.yaml", MEMBER)])
}

async fn do_create(engine: &Engine) -> bool {
    let mut wanted = want("s", &small());
    wanted.files = member_files();
    engine.create(&caller(), wanted).await.is_ok()
}

async fn do_step(engine: &Engine, step: Step) -> bool {
    let found = engine.find(Some(&caller().project), "s").await;
    match (step, found) {
        (Step::Create, Ok(_)) => true,
        (Step::Create, Err(_)) => do_create(engine).await,
        (Step::Update, Ok(stack)) => {
            if stack.action == engine::Action::Update {
                return true;
            }
            let mut wanted = change(&changed());
            wanted.files = Some(member_files());
            engine.update(&caller(), stack.id, wanted).await.is_ok()
        }
        (Step::Delete, Ok(stack)) => engine.delete(stack.id).await.is_ok(),
        (Step::Update, Err(_)) => panic!("the stack is lost"),
        (Step::Delete, Err(_)) => true,
    }
}

/// The end of a run: what is in the cloud, what is in the stack, how many accounts there are.
type End = (Vec<String>, Vec<String>, usize);

async fn end(lab: &Lab, engine: &Engine) -> End {
    let found = engine.find(Some(&caller().project), "s").await;
    let mut all = match &found {
        Ok(stack) => states(engine, stack.id).await,
        Err(_) => Vec::new(),
    };
    if let Ok(stack) = found {
        all.push(format!("{}_{}", stack.action, stack.status));
    }
    all.sort();
    (lab.sim.inventory(), all, lab.users.names().len())
}

async fn id(engine: &Engine) -> Option<StackId> {
    engine
        .find(Some(&caller().project), "s")
        .await
        .ok()
        .map(|stack| stack.id)
}

/// Brings a lab to where the step begins.
async fn prepared(step: Step) -> Lab {
    let lab = Lab::new(2);
    if step != Step::Create {
        let engine = lab.engine().await;
        assert!(do_create(&engine).await);
        node(&engine, id(&engine).await.unwrap()).await;
    }
    lab
}

/// Kills the engine after each write of a step, one by one.
async fn killed_at_each_write(step: Step) -> u32 {
    let lab = prepared(step).await;
    let engine = lab.engine().await;
    assert!(do_step(&engine, step).await);
    if let Some(id) = id(&engine).await {
        node(&engine, id).await;
    }
    let wanted = end(&lab, &engine).await;

    let mut writes = 0;
    loop {
        let lab = prepared(step).await;
        let cut = lab.store.cut_after(writes);
        if let Ok(engine) = lab.engine_on(cut.clone()).await {
            do_step(&engine, step).await;
            if let Some(id) = id(&engine).await {
                node_or_cut(&engine, id, &cut).await;
            }
            drop(engine);
        }
        let was_killed = cut.is_cut();
        let engine = lab.engine().await;
        assert!(do_step(&engine, step).await, "killed after {writes} writes");
        if let Some(id) = id(&engine).await {
            node(&engine, id).await;
        }
        assert_eq!(
            end(&lab, &engine).await,
            wanted,
            "killed after {writes} writes"
        );
        if !was_killed {
            return writes;
        }
        writes += 1;
    }
}

#[tokio::test]
async fn creation_survives_a_kill_at_each_step() {
    let writes = killed_at_each_write(Step::Create).await;
    assert!(writes > 8, "only {writes} durable steps were seen");
}

#[tokio::test]
async fn an_update_survives_a_kill_at_each_step() {
    let writes = killed_at_each_write(Step::Update).await;
    assert!(writes > 8, "only {writes} durable steps were seen");
}

#[tokio::test]
async fn a_deletion_survives_a_kill_at_each_step() {
    let writes = killed_at_each_write(Step::Delete).await;
    assert!(writes > 5, "only {writes} durable steps were seen");
}
