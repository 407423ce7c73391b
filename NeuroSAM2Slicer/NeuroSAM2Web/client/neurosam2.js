// What the page does by itself: shows pictures when they have changed, turns the mouse into calls, draws the rubber band, presses buttons by key.
(function () {
  const MAX_PX = 1200; // a larger picture takes a computer without a graphics card too long to draw
  const WHEEL_STEP = 50;
  const SMALLEST_BOX_PX = 3;
  const SLICE_KEYS = { ArrowUp: 1, ArrowDown: -1, PageUp: 10, PageDown: -10 };

  // Calls the server with the newest arguments only, one call at a time; nothing that changes the scene goes through here.
  function newest(call) {
    let waiting = null;
    let isBusy = false;
    return async function (...args) {
      waiting = args;
      if (isBusy) return;
      isBusy = true;
      try {
        while (waiting) {
          const now = waiting;
          waiting = null;
          await call(...now);
        }
      } finally {
        isBusy = false;
      }
    };
  }

  // Draws one view at a time, the one in hand first, so that what was just clicked is never behind what nobody looks at.
  const painter = {
    views: new Set(),
    inHand: "Red",
    isBusy: false,
    async paint() {
      if (painter.isBusy) return;
      painter.isBusy = true;
      try {
        for (let view; (view = painter.next()); ) await view.fetchPicture();
      } finally {
        painter.isBusy = false;
      }
    },
    next() {
      const waiting = [...painter.views].filter((view) => view.isOutOfDate());
      return waiting.find((view) => view.name === painter.inHand) ?? waiting[0];
    },
  };

  const SliceView = {
    inject: ["trame"],
    props: { name: String, label: String, number: Number, tool: String, about: String, previews: Boolean },
    data: () => ({ shown: -1, band: null, stroke: null, readout: [] }),
    template: `
      <div class="ns-view" tabindex="0" role="img" :aria-label="label + ' view, ' + about" :class="'ns-tool-' + tool"
        :data-view="name" :data-shown="shown" :data-number="number"
        @pointerdown="down" @pointermove="move" @pointerup="up" @pointercancel="cancel" @pointerleave="leave"
        @wheel.prevent="wheel" @keydown="key" @contextmenu.prevent>
        <canvas ref="canvas"></canvas>
        <div v-if="band" class="ns-band" :style="bandStyle"></div>
        <svg v-if="stroke" class="ns-stroke"><polyline :points="strokePoints"></polyline></svg>
        <div v-if="readout.length" class="ns-readout" data-test="readout">
          <div v-for="line in readout">{{ line }}</div>
        </div>
        <slot></slot>
      </div>`,
    computed: {
      placesPoints() { return this.tool === "positive" || this.tool === "negative"; },
      draws() { return this.tool in (this.trame.state.get("closes_stroke") ?? {}); },
      strokePoints() {
        const closing = this.trame.state.get("closes_stroke")[this.tool] ? this.stroke.slice(0, 1) : [];
        return [...this.stroke, ...closing].map((one) => one.join()).join(" ");
      },
      placesRulers() { return this.tool === "distance" || this.tool === "angle"; },
      drawsBand() { return this.tool === "box" || this.tool === "region"; },
      bandStyle() {
        const { x0, y0, x1, y1 } = this.band;
        return {
          left: Math.min(x0, x1) + "px", top: Math.min(y0, y1) + "px",
          width: Math.abs(x1 - x0) + "px", height: Math.abs(y1 - y0) + "px",
          borderRadius: this.tool === "region" ? "50%" : "",
        };
      },
    },
    watch: {
      number() { painter.paint(); },
      tool() {
        this.band = this.stroke = null;
        this.leave();
      },
      previews() { this.leave(); },
    },
    created() {
      this.drag = newest((press) => this.trame.trigger("mouse", [this.name, press]));
      this.turn = newest(() => {
        const steps = this.steps;
        this.steps = 0;
        return steps ? this.trame.trigger("wheel", [this.name, steps]) : null;
      });
      this.point = newest((...where) => this.trame.trigger(where.length ? "point" : "leave", where));
      this.goThere = newest((...where) => this.trame.trigger("there", where));
      this.look = newest(async (...where) => {
        const lines = where.length ? await this.trame.trigger("readout", where) : [];
        this.readout = lines ?? [];
      });
      this.isPointing = false;
      this.steps = this.travel = 0;
      this.button = null;
    },
    mounted() {
      painter.views.add(this);
      this.observer = new ResizeObserver(painter.paint);
      this.observer.observe(this.$el);
    },
    beforeUnmount() {
      painter.views.delete(this);
      this.observer.disconnect();
    },
    methods: {
      // The picture's size in its own pixels, and how many of them one of the page's is.
      size() {
        const width = this.$el.clientWidth, height = this.$el.clientHeight;
        const scale = Math.min(window.devicePixelRatio || 1, MAX_PX / Math.max(width, height, 1));
        return { scale, width: Math.round(width * scale), height: Math.round(height * scale) };
      },
      isOutOfDate() {
        const { width, height } = this.size(), canvas = this.$refs.canvas;
        return width && height && (this.shown < this.number || canvas.width !== width || canvas.height !== height);
      },
      async fetchPicture() {
        const { width, height } = this.size(), canvas = this.$refs.canvas;
        const answer = await this.trame.trigger("picture", [this.name, width, height, this.shown]);
        if (answer.data) {
          const picture = await createImageBitmap(new Blob([answer.data], { type: "image/jpeg" }));
          canvas.width = picture.width;
          canvas.height = picture.height;
          canvas.getContext("2d").drawImage(picture, 0, 0);
          picture.close();
        }
        this.shown = answer.number;
      },
      place(event) {
        const box = this.$el.getBoundingClientRect();
        return { x: event.clientX - box.left, y: event.clientY - box.top };
      },
      press(phase, event) {
        const { scale, width, height } = this.size();
        const { x, y } = this.place(event);
        return { phase, button: this.button, x: x * scale, y: y * scale, width, height, has_shift: event.shiftKey };
      },
      down(event) {
        if (this.button !== null) return;
        painter.inHand = this.name;
        this.$el.focus({ preventScroll: true });
        const isPlain = event.button === 0 && !event.shiftKey && !event.ctrlKey;
        const { x, y } = this.place(event);
        if (isPlain && this.placesPoints) {
          this.trame.trigger("click", this.pointAt(event));
          return;
        }
        if (isPlain && this.placesRulers) {
          const [name, ...where] = this.pointAt(event);
          this.trame.trigger("ruler", [name, this.tool, ...where.slice(0, 4)]);
          return;
        }
        this.$el.setPointerCapture(event.pointerId);
        this.button = event.button === 0 && event.ctrlKey ? 2 : event.button;
        if (isPlain && this.drawsBand) {
          this.band = { x0: x, y0: y, x1: x, y1: y };
          return;
        }
        if (isPlain && this.draws) {
          this.stroke = [[x, y]];
          return;
        }
        this.trame.trigger("mouse", [this.name, this.press("down", event)]);
      },
      move(event) {
        const where = this.pointAt(event).slice(0, 5);
        this.look(...where);
        if (event.shiftKey && this.button === null) this.goThere(...where);
        if (this.band) {
          const { x, y } = this.place(event);
          this.band = { ...this.band, x1: x, y1: y };
        } else if (this.stroke) {
          this.extend(event);
        } else if (this.button !== null) {
          this.drag(this.press("move", event));
        } else if (this.placesPoints && this.previews) {
          this.isPointing = true;
          this.point(...this.pointAt(event));
        }
      },
      pointAt(event) {
        const { scale, width, height } = this.size(), { x, y } = this.place(event);
        return [this.name, x * scale, y * scale, width, height, this.tool === "positive"];
      },
      leave() {
        this.look();
        if (this.isPointing) this.point();
        this.isPointing = false;
      },
      up(event) {
        if (this.button === null) return;
        if (this.band) this.drawBox(event);
        else if (this.stroke) this.drawStroke(event);
        else this.trame.trigger("mouse", [this.name, this.press("up", event)]);
        this.button = this.band = this.stroke = null;
      },
      cancel(event) {
        if (this.button !== null && !this.band && !this.stroke) this.trame.trigger("mouse", [this.name, this.press("up", event)]);
        this.button = this.band = this.stroke = null;
      },
      // The places between two frames, too, so that a quick hand draws no corners.
      extend(event) {
        const between = event.getCoalescedEvents?.() ?? [];
        for (const one of between.length ? between : [event]) {
          const { x, y } = this.place(one);
          this.stroke.push([x, y]);
        }
      },
      drawStroke(event) {
        const { scale, width, height } = this.size();
        this.extend(event);
        const path = this.stroke.map(([x, y]) => [x * scale, y * scale]);
        this.trame.trigger("stroke", [this.name, this.tool, path, width, height]);
      },
      drawBox(event) {
        const { scale, width, height } = this.size();
        const { x, y } = this.place(event), { x0, y0 } = this.band;
        if (Math.max(Math.abs(x - x0), Math.abs(y - y0)) < SMALLEST_BOX_PX) return;
        const corners = [x0, y0, x, y].map((one) => one * scale);
        this.trame.trigger(this.tool === "region" ? "region" : "box", [this.name, corners, width, height]);
        this.trame.state.set("tool", "look");
      },
      wheel(event) {
        if (Math.sign(event.deltaY) !== Math.sign(this.travel)) this.travel = 0;
        this.travel += event.deltaMode ? Math.sign(event.deltaY) * WHEEL_STEP : event.deltaY;
        if (Math.abs(this.travel) < WHEEL_STEP) return;
        this.step(this.travel < 0 ? 1 : -1);
        this.travel = 0;
      },
      step(count) {
        painter.inHand = this.name;
        this.steps += count;
        this.turn();
      },
      key(event) {
        const steps = SLICE_KEYS[event.key];
        if (!steps) return;
        event.preventDefault();
        event.stopPropagation();
        this.step(steps);
      },
    },
  };

  const SliceBar = {
    inject: ["trame"],
    props: { name: String, label: String, index: Number, count: Number, cells: Array },
    template: `
      <div class="ns-bar" tabindex="0" role="slider" :aria-label="label + ' slice'" aria-valuemin="0" :aria-valuemax="count - 1"
        :aria-valuenow="index" :aria-valuetext="sentence(index)" :data-bar="name" :data-index="index"
        :class="{ 'ns-quality-strip': cells.length }" :title="title"
        @pointerdown="down" @pointermove="move" @keydown="key">
        <i v-for="(cell, n) in cells" :key="n" :class="'ns-mark ns-' + cell[0]"></i>
        <b v-if="count" :style="{ left: ((index + 0.5) / count) * 100 + '%' }"></b>
      </div>`,
    data: () => ({ title: "" }),
    created() {
      this.wanted = null; // what was asked for and is not shown yet: the next key counts from there
      this.goTo = newest(async (index) => {
        this.wanted = index;
        await this.trame.trigger("go", [this.name, index]);
        if (this.wanted === index) this.wanted = null;
      });
    },
    methods: {
      sentence(index) {
        return this.cells.length ? this.cells[index]?.[1] ?? "" : "Slice " + index;
      },
      under(event) {
        const box = this.$el.getBoundingClientRect();
        return Math.min(this.count - 1, Math.max(0, Math.floor(((event.clientX - box.left) / box.width) * this.count)));
      },
      down(event) {
        this.$el.setPointerCapture(event.pointerId);
        this.goTo(this.under(event));
      },
      move(event) {
        this.title = this.sentence(this.under(event));
        if (event.buttons & 1) this.goTo(this.under(event));
      },
      key(event) {
        const last = this.count - 1, here = this.wanted ?? this.index;
        const index = {
          ArrowRight: here + 1, ArrowUp: here + 1, ArrowLeft: here - 1, ArrowDown: here - 1,
          PageUp: here + 10, PageDown: here - 10, Home: 0, End: last,
        }[event.key];
        if (index === undefined) return;
        event.preventDefault();
        this.wanted = Math.min(last, Math.max(0, index));
        this.goTo(this.wanted);
      },
    },
  };

  // A key presses the button that bears it, exactly when the button could be pressed; never while somebody types.
  // Keys that go to other slices count for the view in hand where nothing else has use for them.
  function pressByKey(event) {
    if (event.altKey || event.metaKey) return;
    if (SLICE_KEYS[event.key] && event.target.matches?.("body, button:not([role=tab])")) {
      event.preventDefault();
      [...painter.views].find((view) => view.name === painter.inHand)?.step(SLICE_KEYS[event.key]);
      return;
    }
    if (event.repeat) return;
    if (event.target.closest?.("input:not([type=color], [type=checkbox], [type=radio], [type=range]), textarea, [contenteditable], [role=dialog], [role=listbox]")) return;
    const key = (event.ctrlKey ? "Ctrl+" : "") + (event.key.length === 1 ? event.key.toUpperCase() : event.key);
    if (key === "Escape") window.trame.state.set("tool", "look");
    const named = (name) => document.querySelector(`[data-key="${CSS.escape(name)}"]`);
    const button = (event.shiftKey && named("Shift+" + key)) || named(key);
    if (!button || button.disabled) return;
    event.preventDefault();
    button.click();
  }

  // Vuetify gives the label of a list or a slider to a part that screen readers do not read as the field itself.
  function nameFields() {
    for (const field of document.querySelectorAll("[role=combobox]:not([aria-label]), .v-slider-thumb[role=slider]:not([aria-label])")) {
      const whole = field.closest(".v-input");
      const label = whole?.querySelector(".v-label")?.textContent || field.querySelector("input")?.ariaLabel || whole?.title || field.title;
      if (label) field.setAttribute("aria-label", label);
    }
  }

  window.NeuroSAM2 = {
    install(app) {
      app.component("ns-slice-view", SliceView);
      app.component("ns-slice-bar", SliceBar);
      document.addEventListener("keydown", pressByKey);
      new MutationObserver(nameFields).observe(document, { childList: true, subtree: true });
    },
  };
})();
