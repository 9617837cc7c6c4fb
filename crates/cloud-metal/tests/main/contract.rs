//! What every driver must do.

use cloud::{ContractSetting, contract};

use crate::setting::{open, order};

#[tokio::test]
async fn keeps_the_contract_of_all_drivers() {
    let setting = open(None).await;
    setting
        .node("n1", "baremetal", &["52:54:00:00:00:01"])
        .await;
    let what = ContractSetting {
        image: "hello".into(),
        flavor: "baremetal".into(),
        project: "p".into(),
        deadline: order(1).deadline,
        prefix: "contract".into(),
        cidr: "192.0.2.0/24".parse().expect("a network"),
    };
    contract(&setting.cloud, &what).await;
}
