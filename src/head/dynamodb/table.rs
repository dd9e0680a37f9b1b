//! Makes the table.

use std::time::Duration;

use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType, TableStatus,
};

use super::HeadsInDynamoDb;
use super::item::{COLLECTION, REGISTER};
use crate::aws::judge;
use crate::env;
use crate::store::{StoreError, StoreErrorKind};

/// Looks at a table that is being made, a second apart.
const LOOKS_AT_NEW_TABLE: usize = 120;

impl HeadsInDynamoDb {
    /// Makes the table, billed by request, and waits until it is usable. Leaves an existing one
    /// unchanged.
    ///
    /// # Errors
    ///
    /// The table exists for another purpose, or there is no permission to make it.
    pub async fn create_table(&self) -> Result<(), StoreError> {
        let failed = |reason: String| StoreError::new(StoreErrorKind::Permanent, "make the table", &self.table, reason);
        let attribute = |name: &str| {
            AttributeDefinition::builder().attribute_name(name).attribute_type(ScalarAttributeType::S).build()
        };
        let key = |name: &str, kind| KeySchemaElement::builder().attribute_name(name).key_type(kind).build();
        let request = self.client.create_table().table_name(&self.table).billing_mode(BillingMode::PayPerRequest);
        let request = request
            .attribute_definitions(attribute(COLLECTION).map_err(|error| failed(error.to_string()))?)
            .attribute_definitions(attribute(REGISTER).map_err(|error| failed(error.to_string()))?)
            .key_schema(key(COLLECTION, KeyType::Hash).map_err(|error| failed(error.to_string()))?)
            .key_schema(key(REGISTER, KeyType::Range).map_err(|error| failed(error.to_string()))?);
        if let Err(error) = request.send().await {
            let exists = error.as_service_error().is_some_and(|error| error.is_resource_in_use_exception());
            if !exists {
                return Err(self.failed("make the table", &self.table, judge(&error)));
            }
        }
        for _ in 0..LOOKS_AT_NEW_TABLE {
            let described = self.client.describe_table().table_name(&self.table).send().await;
            let described = described.map_err(|error| self.failed("make the table", &self.table, judge(&error)))?;
            let table = described.table.ok_or_else(|| failed("the service does not describe it".to_owned()))?;
            let keys: Vec<(&str, &KeyType)> =
                table.key_schema().iter().map(|key| (key.attribute_name(), key.key_type())).collect();
            if keys != [(COLLECTION, &KeyType::Hash), (REGISTER, &KeyType::Range)] {
                let reason = "the table exists, and its keys are not `collection` and `register`; choose another name";
                return Err(failed(reason.to_owned()));
            }
            if table.table_status == Some(TableStatus::Active) {
                return Ok(());
            }
            env::sleep(Duration::from_secs(1)).await;
        }
        Err(failed("the table is being created; try again in a minute".to_owned()))
    }
}
