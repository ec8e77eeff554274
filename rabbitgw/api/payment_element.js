// The demo page: an order of the gateway, Stripe's Payment Element for it, and how the order stands.
//
// The key is in its field and nowhere else: not in the address once this runs, not in a store, not in what Stripe
// is told. stripe.js comes from Stripe only, and only after the address is clean, for it reads the address.
// That a payment succeeded is believed of the gateway alone, which has it from Stripe; here it is only shown.

const STRIPE_JS = "https://js.stripe.com/endive/stripe.js"; // the release that belongs to the gateway's API version
const STRIPE_WAIT_MS = 20_000;
const ANSWER_WAIT_MS = 30_000;
const LOOKS_MAX = 40; // three minutes
const LOOK_WAIT_MAX_MS = 5_000;

const NO_STRIPE =
  "stripe.js could not be loaded from js.stripe.com, so nothing can be paid here. " +
  "Check the connection and what blocks scripts, then reload this page.";
const NO_PUBLISHABLE_KEY =
  "The gateway has no publishable key: set STRIPE_PUBLISHABLE_KEY, or add pk=pk_test_… to this page’s address.";
const WRONG_PUBLISHABLE_KEY = "The publishable key must begin with pk_test_ or pk_live_.";

const BACK = {
  succeeded: "You are back from the payment. Stripe says that it succeeded.",
  failed: "You are back from the payment. Stripe says that it did not succeed; nothing was charged.",
  canceled: "You are back from the payment. It was canceled; nothing was charged.",
};
const BACK_OTHERWISE = "You are back from the payment. Stripe does not know yet how it ends.";
const ASK_KEY = "Enter the API key and press “Look again” to see how the order stands.";

// By the gateway's word for it: what a person is told, and whether it is good news.
const STANDS = {
  created: ["The order is made; nothing has been paid."],
  awaiting_payment: ["Waiting for the payment."],
  processing: ["The payment is under way. Some ways to pay take days."],
  paid: ["Paid: AMOUNT. The credit is in the wallet.", true],
  needs_review: ["The payment does not match the order, so a person has to look at it. The wallet was not credited."],
  failed: ["The payment failed; nothing was charged."],
  canceled: ["The order was canceled; nothing was charged."],
  partially_refunded: ["REFUNDED of AMOUNT was refunded.", true],
  refunded: ["AMOUNT was refunded.", true],
  disputed: ["The payment is disputed at the bank."],
};
const MOVING = new Set(["created", "awaiting_payment", "processing"]);
const FIELDS = { amount_cents: "amount", currency: "currency", user_id: "user", credit_amount: "package" };

const at = (id) => document.getElementById(id);
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

class Failure extends Error {
  constructor(message, { code, requestId, field } = {}) {
    super(message);
    Object.assign(this, { code, requestId, field });
  }
}

const given = new URL(location.href).searchParams;
at("key").value = given.get("key") ?? "";
history.replaceState(null, "", own(given.get("order_id")));
const base = (given.get("api") || location.origin).replace(/\/+$/, "");
const stripeLoaded = loadStripe();
let paying = null; // the order of step 2, with what Stripe made for it
let following = 0; // counts up: whoever follows an older order stops

// The address of this page with nothing in it but what may be seen: no key, no client secret.
function own(orderId) {
  const address = new URL(location.origin + location.pathname);
  const api = given.get("api");
  const pk = given.get("pk");
  if (api) address.searchParams.set("api", api);
  if (pk?.startsWith("pk_")) address.searchParams.set("pk", pk);
  if (orderId) address.searchParams.set("order_id", orderId);
  return address.href;
}

function loadStripe() {
  return new Promise((resolve, reject) => {
    const fail = () => reject(new Failure(NO_STRIPE));
    const script = document.createElement("script");
    script.src = STRIPE_JS;
    script.onload = () => (window.Stripe ? resolve(window.Stripe) : fail());
    script.onerror = fail;
    setTimeout(fail, STRIPE_WAIT_MS);
    document.head.append(script);
  });
}

// -- the gateway --

async function ask(method, path, body) {
  const key = at("key").value.trim();
  if (!/^[!-~]*$/.test(key)) throw new Failure("The API key has characters that no key has.", { field: "key" });
  const headers = { ...(key && { "x-api-key": key }), ...(body && { "content-type": "application/json" }) };
  let answer;
  try {
    answer = await fetch(base + path, {
      method,
      headers,
      body: body && JSON.stringify(body),
      cache: "no-store",
      credentials: "omit",
      redirect: "error",
      signal: AbortSignal.timeout(ANSWER_WAIT_MS),
    });
  } catch (error) {
    if (error.name === "TimeoutError") throw new Failure(`${base} did not answer in ${ANSWER_WAIT_MS / 1000} s.`);
    const elsewhere = new URL(base).origin !== location.origin;
    const why = elsewhere ? ` It is not where this page is from (${location.origin}); then it must allow that.` : "";
    throw new Failure(`${base} cannot be reached.${why}`);
  }
  const said = await answer.json().catch(() => null);
  if (answer.ok && said) return said;
  const { message, code, field } = said?.error ?? {};
  throw new Failure(message ?? `The gateway answered with status ${answer.status}.`, {
    code: code ?? `status ${answer.status}`,
    requestId: said?.request_id ?? answer.headers.get("x-request-id"),
    field: FIELDS[field],
  });
}

async function publishableKey() {
  const pk = given.get("pk") || (await configured());
  if (!/^pk_(test|live)_/.test(pk)) throw new Failure(WRONG_PUBLISHABLE_KEY);
  return pk;
}

async function configured() {
  try {
    return (await ask("GET", "/v1/config/stripe")).publishable_key;
  } catch (failure) {
    if (failure.code !== "payments_off") throw failure;
    throw new Failure(NO_PUBLISHABLE_KEY, failure);
  }
}

async function newOrder() {
  if (chosen() === "package") {
    const wanted = { credit_amount: Number(at("package").value) };
    const { order_id: id, client_secret: secret } = await ask("POST", "/billing/create-payment-intent", wanted);
    return { id, secret, what: `for ${wanted.credit_amount} credits` };
  }
  const user = at("user").value.trim();
  if (!/^\d*$/.test(user)) throw new Failure("User id: a whole number, or nothing.", { field: "user" });
  const whose = user && { user_id: Number(user) };
  const amount = { amount_cents: minorUnits(), currency: currency() };
  const { order_id: id, type, payload } = await ask("POST", "/v1/payments/checkout", { ...whose, ...amount });
  if (type !== "client_secret") throw new Failure(`The gateway offers a ${type}, which this page cannot show.`);
  return { id, secret: payload.client_secret, what: shownAmount(payload.amount_cents, payload.currency) };
}

// -- amounts: text and integers of the smallest unit, nothing between --

const chosen = () => document.querySelector("input[name=what]:checked").value;
const currency = () => at("currency").value.trim().toUpperCase();

function decimals(code) {
  if (!/^[A-Z]{3}$/.test(code)) throw new Failure("Currency: three letters like USD.", { field: "currency" });
  return new Intl.NumberFormat("en", { style: "currency", currency: code }).resolvedOptions().maximumFractionDigits;
}

function minorUnits() {
  const digits = decimals(currency());
  const [, units, part = ""] = /^(\d{1,8})(?:\.(\d+))?$/.exec(at("amount").value.trim()) ?? [];
  if (units === undefined || part.length > digits || !Number(units + part)) {
    const like = digits ? `10.${"0".repeat(digits)}` : "10";
    throw new Failure(`Amount: a number like ${like}, above zero.`, { field: "amount" });
  }
  return Number(units + part.padEnd(digits, "0"));
}

function shownAmount(minor, code) {
  const digits = decimals(code.toUpperCase());
  const text = String(minor).padStart(digits + 1, "0");
  const point = text.length - digits;
  return `${text.slice(0, point)}${digits ? "." : ""}${text.slice(point)} ${code.toUpperCase()}`;
}

function hintAmount() {
  try {
    at("amount_hint").textContent = `Sent as amount_cents ${minorUnits()}, the currency’s smallest unit.`;
  } catch (failure) {
    at("amount_hint").textContent = failure.message;
  }
}

// -- what is shown --

function notice(box, text, small = "") {
  const said = document.createElement("p");
  said.textContent = text;
  const more = document.createElement("small");
  more.textContent = small;
  box.replaceChildren(said, ...(small ? [more] : []));
  box.hidden = false;
}

function tell(text, good = false) {
  notice(at("state"), text);
  at("state").classList.toggle("good", good);
}

function complain(failure) {
  const facts = [failure.code, failure.requestId && `request id ${failure.requestId}`];
  notice(at("problem"), failure.message, facts.filter(Boolean).join(" · "));
  at("problem").scrollIntoView({ block: "nearest" });
  if (!failure.field) return;
  at(failure.field).setAttribute("aria-invalid", "true");
  at(failure.field).focus();
}

function clear() {
  at("problem").hidden = at("state").hidden = true;
  document.querySelectorAll("[aria-invalid]").forEach((field) => field.removeAttribute("aria-invalid"));
}

// One of order, payment and result, and the focus on its title: a reader hears that the page has moved on.
function step(name) {
  for (const one of ["order", "payment", "result"]) at(one).hidden = one !== name;
  at(`${name}_title`).focus();
}

// Work that somebody asked for: nothing else can be pressed meanwhile, and what fails is said.
async function busy(work) {
  const fields = document.querySelectorAll("fieldset");
  fields.forEach((one) => (one.disabled = true));
  const failure = await work().catch((one) => one);
  fields.forEach((one) => (one.disabled = false)); // first: what is disabled takes no focus
  if (failure) complain(failure);
}

// -- the steps --

async function start() {
  clear();
  const Stripe = await stripeLoaded;
  const pk = await publishableKey(); // before the order: without it there is nothing to pay with
  const order = await newOrder();
  const stripe = Stripe(pk);
  const theme = matchMedia("(prefers-color-scheme: dark)").matches ? "night" : "stripe";
  const elements = stripe.elements({ clientSecret: order.secret, appearance: { theme } });
  const element = elements.create("payment");
  paying = { id: order.id, stripe, elements, element };
  at("pay").textContent = `Pay ${order.what}`;
  at("pay").disabled = true;
  element.on("ready", () => (at("pay").disabled = false));
  element.on("loaderror", ({ error }) => complain(new Failure(error.message, { code: error.code ?? error.type })));
  step("payment");
  element.mount("#payment_element");
}

async function pay() {
  clear();
  tell("Stripe is taking the payment …");
  const { stripe, elements, id } = paying;
  const confirmParams = { return_url: own(id) };
  const confirmed = stripe.confirmPayment({ elements, confirmParams, redirect: "if_required" });
  const { error } = await confirmed.finally(() => (at("state").hidden = true));
  if (error) throw new Failure(error.message, { code: error.decline_code ?? error.code ?? error.type });
  history.replaceState(null, "", own(id));
  leavePayment();
  step("result");
  follow(id).catch(complain);
}

// Ask for the order until it stands still, or often enough.
async function follow(id) {
  const mine = ++following;
  at("order_id").textContent = id;
  for (let look = 0; look < LOOKS_MAX; look++) {
    if (look) await pause(Math.min(1000 * 1.25 ** (look - 1), LOOK_WAIT_MAX_MS));
    if (mine !== following) return;
    const order = await ask("GET", `/v1/payments/status?order_id=${encodeURIComponent(id)}`);
    if (mine !== following) return;
    const [words = "", good = false] = STANDS[order.status] ?? [];
    const amount = shownAmount(order.amount_cents, order.currency);
    const refunded = shownAmount(order.refunded_cents, order.currency);
    at("order_status").textContent = order.status;
    tell(words.replace("REFUNDED", refunded).replace("AMOUNT", amount) || `The order is ${order.status}.`, good);
    if (!MOVING.has(order.status)) return;
  }
  tell("The order has not moved for a while. Stripe’s message to the gateway may be late: look again later.");
}

function look() {
  clear();
  follow(at("order_id").textContent).catch(complain);
}

function leavePayment() {
  paying?.element.destroy();
  paying = null;
}

function again() {
  clear();
  following++;
  leavePayment();
  history.replaceState(null, "", own());
  step("order");
}

async function offerPackages() {
  const { packages } = await ask("GET", "/billing/credit-packages?currency=USD");
  for (const { credits, price, discount_percent: discount } of packages) {
    const less = Number(discount) ? ` (−${Number(discount)} %)` : "";
    at("package").append(new Option(`${credits} credits: ${price} USD${less}`, credits));
  }
  document.querySelector("input[value=package]").disabled = !packages.length;
}

function choose() {
  at("by_amount").hidden = at("by_user").hidden = chosen() !== "amount";
  at("by_package").hidden = chosen() !== "package";
}

// Sent back by Stripe, or by somebody who kept the address of an order.
function comeBack(id) {
  const redirect = given.get("redirect_status");
  const said = redirect ? (BACK[redirect] ?? BACK_OTHERWISE) : "";
  step("result");
  at("order_id").textContent = id;
  at("order_status").textContent = "not looked at yet";
  if (at("key").value) return look();
  tell([said, ASK_KEY].filter(Boolean).join(" "));
}

if (given.get("api")) at("api").textContent = base;
at("access").addEventListener("submit", (event) => event.preventDefault());
at("order").addEventListener("submit", (event) => (event.preventDefault(), busy(start)));
at("payment").addEventListener("submit", (event) => (event.preventDefault(), busy(pay)));
at("order").addEventListener("change", choose);
at("order").addEventListener("input", hintAmount);
at("look").addEventListener("click", look);
document.querySelectorAll(".again").forEach((button) => button.addEventListener("click", again));
stripeLoaded.catch(complain);
hintAmount();
offerPackages().catch(() => {}); // then there is an amount to choose
if (given.get("order_id")) comeBack(given.get("order_id"));
