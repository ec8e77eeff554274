// What the tests load in the place of stripe.js: Stripe(pk).elements().create("payment") and confirmPayment().
//
// It draws one field where the Payment Element would be. What comes of mounting and confirming is asked of the test
// (stripeMounts, stripeConfirms), so it calls no network; what it was given stands in window.standIn.
window.standIn = { elements: [], confirmed: [], address: location.href };

window.Stripe = (publishableKey) => ({
  elements(options) {
    const elements = { publishableKey, ...options };
    window.standIn.elements.push(elements);
    return {
      given: elements,
      create(kind) {
        const heard = {};
        let drawn = null;
        return {
          on(event, listener) {
            heard[event] = listener;
          },
          async mount(place) {
            if (kind !== "payment") throw new Error(`no element ${kind}`);
            drawn = document.createElement("input");
            drawn.setAttribute("aria-label", "Card number");
            document.querySelector(place).replaceChildren(drawn);
            const error = await window.stripeMounts(options.clientSecret);
            if (error) heard.loaderror?.({ elementType: kind, error });
            else heard.ready?.({ elementType: kind });
          },
          destroy() {
            drawn?.remove();
          },
        };
      },
    };
  },
  async confirmPayment({ elements, confirmParams, redirect }) {
    window.standIn.confirmed.push({ confirmParams, redirect });
    const { clientSecret } = elements.given;
    const outcome = await window.stripeConfirms(clientSecret, confirmParams.return_url);
    if (!outcome.redirect) return outcome;
    location.assign(outcome.redirect);
    return new Promise(() => {}); // the page is left
  },
});
