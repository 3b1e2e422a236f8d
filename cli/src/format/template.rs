//! A small part of Go's templates, complete in itself: fields, fields of fields, and `json`.

use std::str::FromStr;

use serde_json::Value;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    /// `{{.A.B}}`; no names: the whole.
    Field(Vec<String>),
    /// `{{json .A.B}}`
    Json(Vec<String>),
}

impl FromStr for Template {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            push_text(&mut parts, before);
            let (inside, behind) =
                after.split_once("}}").ok_or_else(|| format!("{{{{ without }}}} after '{before}'"))?;
            parts.push(action(inside.trim())?);
            rest = behind;
        }
        push_text(&mut parts, rest);
        if parts.iter().all(|part| matches!(part, Part::Text(_))) {
            return Err(format!(
                "'{text}' has no field in it; write table, json or a template such as '{{{{.Name}}}}'"
            ));
        }
        Ok(Self(parts))
    }
}

fn push_text(parts: &mut Vec<Part>, text: &str) {
    if !text.is_empty() {
        parts.push(Part::Text(text.replace("\\t", "\t").replace("\\n", "\n")));
    }
}

fn action(inside: &str) -> Result<Part, String> {
    match inside.strip_prefix("json ") {
        Some(of) => path(of.trim()).map(Part::Json),
        None => path(inside).map(Part::Field),
    }
    .ok_or_else(|| {
        format!("'{{{{{inside}}}}}' is not understood; a template has {{{{.Field}}}}, {{{{json .}}}} and {{{{json .Field}}}}")
    })
}

fn path(text: &str) -> Option<Vec<String>> {
    let names = text.strip_prefix('.')?;
    if names.is_empty() {
        return Some(Vec::new());
    }
    let names: Vec<String> = names.split('.').map(str::to_owned).collect();
    let is_name = |name: &String| !name.is_empty() && !name.contains(char::is_whitespace);
    names.iter().all(is_name).then_some(names)
}

impl Template {
    /// The template with the object's values in it, or which field there is not.
    pub fn render(&self, object: &Value) -> Result<String, String> {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Text(plain) => text.push_str(plain),
                Part::Field(names) => text.push_str(&plain(find(object, names)?)),
                Part::Json(names) => text.push_str(&find(object, names)?.to_string()),
            }
        }
        Ok(text)
    }

    /// The template with a title in the place of each field.
    pub fn header(&self, title: impl Fn(&str) -> String) -> String {
        let of = |names: &Vec<String>| names.last().map_or_else(String::new, |name| title(name));
        self.0
            .iter()
            .map(|part| match part {
                Part::Text(plain) => plain.clone(),
                Part::Field(names) | Part::Json(names) => of(names),
            })
            .collect()
    }
}

fn find<'a>(object: &'a Value, names: &[String]) -> Result<&'a Value, String> {
    let mut value = object;
    for (depth, name) in names.iter().enumerate() {
        value = match value {
            // What is not set has no fields to be wrong about.
            Value::Null => return Ok(&Value::Null),
            Value::Object(fields) => fields.get(name).ok_or_else(|| {
                let known: Vec<&str> = fields.keys().map(String::as_str).collect();
                let parent = if depth == 0 { String::new() } else { format!(" in .{}", names[..depth].join(".")) };
                format!("there is no field .{name}{parent}; the fields are {}", known.join(", "))
            })?,
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                return Err(format!("there is no field .{name} in .{}: it has no fields", names[..depth].join(".")));
            }
        };
    }
    Ok(value)
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(template: &str, expected: Result<&str, &str>) {
        let object = json!({"ID": "x1", "Spec": {"Name": "web", "Replicas": 3}, "Ports": [80], "Previous": null});
        let got = template.parse::<Template>().and_then(|template| template.render(&object));
        assert_eq!(got.as_deref().map_err(String::as_str), expected, "{template}");
    }

    #[test]
    fn fields_and_json() {
        check("{{.ID}}", Ok("x1"));
        check("{{ .Spec.Name }}/{{.Spec.Replicas}}", Ok("web/3"));
        check(r"{{.ID}}\t{{.Spec.Name}}\n", Ok("x1\tweb\n"));
        check("{{json .Spec}}", Ok(r#"{"Name":"web","Replicas":3}"#));
        check("{{json .ID}} {{.Ports}}", Ok(r#""x1" [80]"#));
        check("{{.Previous.Name}}|", Ok("|"));
    }

    #[test]
    fn mistakes_name_the_way_out() {
        check("{{.Name}}", Err("there is no field .Name; the fields are ID, Spec, Ports, Previous"));
        check("{{.Spec.Size}}", Err("there is no field .Size in .Spec; the fields are Name, Replicas"));
        check("{{.ID.Name}}", Err("there is no field .Name in .ID: it has no fields"));
        check(
            "{{range .Ports}}",
            Err("'{{range .Ports}}' is not understood; a template has {{.Field}}, {{json .}} and {{json .Field}}"),
        );
        check("{{.ID", Err("{{ without }} after ''"));
    }
}
