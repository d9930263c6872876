//! `Trace/Report` and `Trace/ReportRaw`: what is taken, what is left out, what is answered.
//!
//! Invariant: a body that does not bind is answered with code 0 and no data, and nothing is taken.

use std::io::Read as _;

use flate2::read::GzDecoder;
use serde_json::{Value, json};

use super::answer::{Call, Refusal};
use super::bind::{Fields, Style};
use super::journal::{Record, Report, Skip};
use super::rule::{matches, now_ms};
use super::session::check_version;
use super::state::{NameTotals, Shared, State, Tracer};
use super::token::Claims;
use super::wire::{Builder, Sample, TraceModel};

const DAY_MS: i64 = 86_400_000;
/// The server inflates without a limit; this one stops here.
const MAX_INFLATED_BYTES: u64 = 256 << 20;

/// `POST /Trace/Report`: the strict parser.
pub fn report(shared: &Shared, call: &Call) -> Result<Value, Refusal> {
    let body = call.strict_body()?;
    take(shared, call, body.as_ref(), Style::Strict, false)
}

/// `POST /Trace/ReportRaw`: the lenient parser, of a gzip stream if the content type is exactly that.
pub fn report_raw(shared: &Shared, call: &Call) -> Result<Value, Refusal> {
    let gzip = call.header("content-type") == Some("application/x-gzip");
    if call.body.is_empty() {
        return take(shared, call, None, Style::Lenient, false);
    }
    let mut inflated = Vec::new();
    let text = if gzip {
        let mut stream = GzDecoder::new(&call.body[..]).take(MAX_INFLATED_BYTES);
        stream.read_to_end(&mut inflated).map_err(|error| Refusal::exception(error.to_string()))?;
        &inflated[..]
    } else {
        &call.body[..]
    };
    let body =
        serde_json::from_slice::<Value>(text).map_err(|error| Refusal::exception(error.to_string()))?;
    take(shared, call, Some(&body), Style::Lenient, gzip)
}

fn take(
    shared: &Shared,
    call: &Call,
    body: Option<&Value>,
    style: Style,
    gzip: bool,
) -> Result<Value, Refusal> {
    let mut state = shared.state.lock();
    let token = call.bound_token().filter(|token| token.split('.').count() == 3);
    let claims = token.map(|token| shared.authenticate(&state, Some(token))).transpose()?;
    let model = body.and_then(|body| Fields::of(body, style).and_then(TraceModel::bind).ok());
    let Some(model) = model else { return Ok(Value::Null) };
    let Some(app_id) = model.app_id.clone().filter(|name| !name.is_empty()) else { return Ok(Value::Null) };
    process(shared, &mut state, call, claims, &app_id, model, (style == Style::Lenient, gzip))
}

fn process(
    shared: &Shared,
    state: &mut State,
    call: &Call,
    claims: Option<Claims>,
    app_id: &str,
    model: TraceModel,
    (raw, gzip): (bool, bool),
) -> Result<Value, Refusal> {
    let (auto, retention_ms) = (state.settings.auto_register, state.settings.retention_days * DAY_MS);
    let app = state.app_or_new(app_id, "");
    let enabled = app.enabled || auto;
    let name = app.name.clone();
    if !app.tracer.get_or_insert_with(|| Tracer::new(enabled)).enabled {
        return Err(Refusal::exception(format!("应用[{app_id}]已禁用！ (Parameter 'appId')")));
    }
    if let Some(info) = &model.info {
        check_version(app, info.version.as_deref())?;
    }
    let tracer = app.tracer.get_or_insert_with(|| Tracer::new(enabled));
    let (mut taken, mut skipped) = (Vec::new(), Vec::new());
    let mut builders = model.builders.into_iter();
    for builder in &mut builders {
        let Some(builder) = builder else { break };
        match judge(tracer, &builder, retention_ms) {
            None if builder.samples.iter().chain(&builder.error_samples).any(Option::is_none) => {
                skipped.push((builder.name, Skip::BatchBroken));
                break;
            }
            None => {
                taken.push((builder.name.clone(), builder.total, builder.errors));
                add(tracer, builder);
            }
            Some(skip) => skipped.push((builder.name, skip)),
        }
    }
    skipped.extend(builders.flatten().map(|builder| (builder.name, Skip::BatchBroken)));
    let answer = parameters(tracer, model.version.as_deref());
    let client_id = model
        .client_id
        .filter(|client| !client.is_empty())
        .or_else(|| claims.as_ref().map(|claims| claims.client_id.clone()))
        .unwrap_or_else(|| call.remote.to_string());
    shared.seen(state, &client_id, &name);
    let (token_app, token_client_id) = claims.map(|claims| (claims.app, claims.client_id)).unzip();
    let record = Report {
        app: name,
        client_id,
        token_app,
        token_client_id,
        version: model.version,
        raw,
        gzip,
        taken,
        skipped,
        info: model.info,
    };
    shared.record(state, Record::Report(Box::new(record)));
    Ok(answer)
}

/// Why a name is left out, in the server's order.
fn judge(tracer: &Tracer, builder: &Builder, retention_ms: i64) -> Option<Skip> {
    let now_ms = now_ms();
    let name = &builder.name;
    if name.is_empty() {
        Some(Skip::NoName)
    } else if tracer.excludes.iter().any(|pattern| matches(pattern, name)) {
        Some(Skip::Excluded)
    } else if builder.start_ms < now_ms - retention_ms {
        Some(Skip::TooOld)
    } else if builder.start_ms > now_ms + DAY_MS {
        Some(Skip::TooFarAhead)
    } else if name.encode_utf16().count() > 200 {
        Some(Skip::NameTooLong)
    } else if tracer.disabled_names.iter().any(|disabled| disabled.eq_ignore_ascii_case(name)) {
        Some(Skip::Disabled)
    } else {
        None
    }
}

fn add(tracer: &mut Tracer, builder: Builder) {
    let totals = tracer
        .totals
        .entry(builder.name.to_lowercase())
        .or_insert_with(|| NameTotals { name: builder.name, ..NameTotals::default() });
    totals.total += i64::from(builder.total);
    totals.errors += i64::from(builder.errors);
    totals.cost_ms += builder.cost_ms.max(0);
    totals.max_cost_ms = totals.max_cost_ms.max(builder.max_cost_ms);
    totals.value += builder.value;
    let present = |samples: Vec<Option<Sample>>| samples.into_iter().flatten();
    totals.samples.extend(present(builder.samples));
    totals.error_samples.extend(present(builder.error_samples));
}

/// The answer: `excludes` only if the report told a version.
fn parameters(tracer: &Tracer, version: Option<&str>) -> Value {
    let tells_version = version.is_some_and(|version| !version.is_empty());
    let excludes = (tells_version && !tracer.excludes.is_empty()).then_some(&tracer.excludes);
    json!({
        "period": tracer.period_s, "maxSamples": tracer.max_samples, "maxErrors": tracer.max_errors,
        "timeout": tracer.timeout_ms, "maxTagLength": tracer.max_tag_length,
        "requestTagLength": tracer.request_tag_length, "enableMeter": tracer.enable_meter, "excludes": excludes,
    })
}
