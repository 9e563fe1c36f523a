// Sign-in and bearer tokens against a real identity provider (npm oidc-provider), through a real server.
//
// Usage: node oidc.mjs <revgauge binary> <folder with node_modules/oidc-provider>
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [binary, modules] = process.argv.slice(2);
const entry = createRequire(join(modules, "x.js")).resolve("oidc-provider");
const { Provider } = await import(pathToFileURL(entry));

const issuer = "http://127.0.0.1:9461";
const listen = "127.0.0.1:9462";
const base = `http://${listen}`;
const role = { web: "manager" };

const provider = new Provider(issuer, {
    clients: [{
        client_id: "web",
        client_secret: "a-secret-of-the-client",
        redirect_uris: [`${base}/ui/oidc/callback`],
        grant_types: ["authorization_code", "client_credentials"],
        response_types: ["code"],
    }],
    claims: { openid: ["sub", "revgauge_role", "crm_user"] },
    conformIdTokenClaims: false,
    findAccount: (_, sub) => ({ accountId: sub, claims: () => ({ sub, revgauge_role: role.web, crm_user: "user-1" }) }),
    extraTokenClaims: () => ({ revgauge_role: "revops" }),
    features: {
        clientCredentials: { enabled: true },
        resourceIndicators: {
            enabled: true,
            defaultResource: () => "urn:revgauge",
            useGrantedResource: () => true,
            getResourceServerInfo: () => ({ scope: "api", audience: "revgauge", accessTokenFormat: "jwt" }),
        },
    },
});
provider.proxy = false;
const door = provider.listen(9461);

const folder = mkdtempSync(join(tmpdir(), "revgauge-oidc-"));
writeFileSync(join(folder, "secret"), "a-secret-of-the-client\n");
writeFileSync(join(folder, "revgauge.toml"), `
[server]
listen = "${listen}"
[api.postgres]
enabled = false
[[api.oidc.issuers]]
name = "Provider"
issuer = "${issuer}"
audience = "revgauge"
client_id = "web"
client_secret_file = "${join(folder, "secret")}"
redirect_url = "${base}/ui/oidc/callback"
tenant = "acme"
role_claim = "revgauge_role"
user_claim = "crm_user"
`);
const server = spawn(binary, ["serve", "--config", join(folder, "revgauge.toml"), "--store", join(folder, "data")]);
await new Promise((ready, failed) => {
    server.stdout.once("data", ready);
    server.once("exit", (code) => failed(new Error(`the server ended with ${code}`)));
    server.stderr.on("data", (text) => process.stderr.write(text));
});

/// A browser without scripts: cookies by host, redirects followed by hand, the provider's own forms filled in.
const jars = {};
async function visit(url, options = {}) {
    for (let hop = 0; hop < 20; hop += 1) {
        const { host } = new URL(url);
        const jar = (jars[host] ??= {});
        const cookie = Object.entries(jar).map(([name, value]) => `${name}=${value}`).join("; ");
        const reply = await fetch(url, { ...options, redirect: "manual", headers: { ...options.headers, cookie } });
        for (const line of reply.headers.getSetCookie()) {
            const [name, ...value] = line.split(";")[0].split("=");
            jar[name] = value.join("=");
        }
        const location = reply.headers.get("location");
        if (!location) return { url, status: reply.status, text: await reply.text() };
        url = new URL(location, url).href;
        options = {};
    }
    throw new Error("redirected without end");
}

let failures = 0;
const check = (what, good, shown = "") => {
    console.log(`${what}: ${good ? "ok" : `FAILED ${shown}`}`);
    failures += !good;
};
try {
    let page = await visit(`${base}/ui/oidc/start?issuer=${encodeURIComponent(issuer)}&next=/ui/deals`);
    for (const form of [{ prompt: "login", login: "jo", password: "x" }, { prompt: "consent" }]) {
        const action = page.text.match(/<form[^>]*action="([^"]+)"/)?.[1];
        if (!action) break;
        page = await visit(new URL(action, page.url).href, {
            method: "POST",
            headers: { "content-type": "application/x-www-form-urlencoded" },
            body: new URLSearchParams(form).toString(),
        });
    }
    check("signed in by code and PKCE", page.url === `${base}/ui/deals` && page.status === 200, `${page.url} ${page.status} ${page.text.slice(0, 400)}`);
    check("known as the account", page.text.includes("jo"));
    const admin = await visit(`${base}/ui/admin`);
    check("a manager is no administrator", admin.status === 403, admin.status);

    const grant = await fetch(`${issuer}/token`, {
        method: "POST",
        headers: {
            "content-type": "application/x-www-form-urlencoded",
            authorization: `Basic ${Buffer.from("web:a-secret-of-the-client").toString("base64")}`,
        },
        body: "grant_type=client_credentials&scope=api",
    });
    const { access_token: token } = await grant.json();
    const ask = (bearer) => fetch(`${base}/v1/sql`, { method: "POST", body: "select 1 as one", headers: { authorization: `Bearer ${bearer}`, "content-type": "text/plain" } });
    const good = await ask(token);
    check("its access token opens SQL", good.status === 200, `${good.status} ${await good.text()} ${token}`);
    const spoilt = await ask(`${token.slice(0, -6)}AAAAAA`);
    check("a spoilt one does not", spoilt.status === 401, spoilt.status);
    const log = readFileSync(join(folder, "data/run/server.json"), "utf8");
    const secret = JSON.parse(log).operator_secret;
    const audit = await fetch(`${base}/v1/audit-log`, { headers: { authorization: `Bearer rg_operator_${secret}_acme` } });
    const items = (await audit.json()).items;
    check("the refusal is in the audit log", items.some((item) => item.action === "denied" && item.actor.endsWith(":jo")), JSON.stringify(items));
} finally {
    server.kill();
    door.close();
}
process.exit(failures ? 1 : 0);
