// The 3-D view of the review sheet: drag turns, wheel zooms, right drag shifts. Needs WebGL 2; without it the pictures below stay.
(function () {
  const data = JSON.parse(document.getElementById("scene-data").textContent);
  const canvas = document.getElementById("scene");
  const gl = canvas.getContext("webgl2", { antialias: true, preserveDrawingBuffer: true });
  if (!gl) { document.getElementById("scene-box").classList.add("unavailable"); return; }
  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const shader = (kind, source) => {
    const s = gl.createShader(kind); gl.shaderSource(s, source); gl.compileShader(s); return s;
  };
  const program = gl.createProgram();
  gl.attachShader(program, shader(gl.VERTEX_SHADER, `#version 300 es
    in vec3 place; in vec3 colour; uniform mat4 view; uniform vec3 low; uniform float step; out vec3 shade; out vec3 at;
    void main() { vec4 p = view * vec4(low + step * place, 1.0); shade = colour; at = p.xyz; gl_Position = vec4(p.xy, p.z * 0.2, 1.0); }`));
  gl.attachShader(program, shader(gl.FRAGMENT_SHADER, `#version 300 es
    precision highp float; in vec3 shade; in vec3 at; out vec4 pixel;
    void main() { vec3 n = normalize(cross(dFdx(at), dFdy(at))); float light = 0.35 + 0.65 * abs(n.z); pixel = vec4(shade * light, 1.0); }`));
  gl.linkProgram(program); gl.useProgram(program); gl.enable(gl.DEPTH_TEST); gl.clearColor(1, 1, 1, 1);
  const parts = data.parts.map((part) => {
    const array = gl.createVertexArray(); gl.bindVertexArray(array);
    const buffer = (target, content) => { gl.bindBuffer(target, gl.createBuffer()); gl.bufferData(target, content, gl.STATIC_DRAW); };
    buffer(gl.ARRAY_BUFFER, new Uint16Array(bytes(part.places).buffer));
    const place = gl.getAttribLocation(program, "place"); gl.enableVertexAttribArray(place);
    gl.vertexAttribPointer(place, 3, gl.UNSIGNED_SHORT, false, 0, 0);
    buffer(gl.ARRAY_BUFFER, bytes(part.colours));
    const colour = gl.getAttribLocation(program, "colour"); gl.enableVertexAttribArray(colour);
    gl.vertexAttribPointer(colour, 3, gl.UNSIGNED_BYTE, true, 0, 0);
    const index = new Uint32Array(bytes(part.triangles).buffer); buffer(gl.ELEMENT_ARRAY_BUFFER, index);
    return { array, count: index.length, low: part.low, step: part.step, shown: part.shown };
  });
  // Columns of the view: to the right of the picture, up, towards the eye; patient LPS.
  let turn = data.views[0].turn, zoom = 1, shift = [0, 0];
  const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
  const about = (axis, angle) => {
    const c = Math.cos(angle), s = Math.sin(angle);
    turn = turn.map((row, i) => {
      const [j, k] = axis === 0 ? [1, 2] : [2, 0];
      if (i === j) { return row.map((v, n) => c * v - s * turn[k][n]); }
      if (i === k) { return row.map((v, n) => c * v + s * turn[j][n]); }
      return row;
    });
  };
  // Sides of the patient at the edges, the nearest first; the second where the view is turned well towards it.
  const sides = (row, sign) => [["R", "L"], ["A", "P"], ["F", "H"]]
    .map((pair, n) => [Math.abs(row[n]), pair[sign * row[n] > 0 ? 1 : 0]])
    .sort((a, b) => b[0] - a[0]).filter((one, n) => n === 0 || one[0] > 0.3).map((one) => one[1]).join("");
  function mark(pixelsPerMm) {
    [["left", 0, -1], ["right", 0, 1], ["top", 1, 1], ["bottom", 1, -1]].forEach(([edge, row, sign]) => {
      document.getElementById("side-" + edge).textContent = sides(turn[row], sign);
    });
    document.getElementById("bar").style.width = 20 * pixelsPerMm + "px";
  }
  function draw() {
    const wide = canvas.clientWidth, tall = canvas.clientHeight, dense = window.devicePixelRatio || 1;
    canvas.width = wide * dense; canvas.height = tall * dense;
    gl.viewport(0, 0, canvas.width, canvas.height); gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    const half = data.reach_mm / zoom, across = tall / wide;
    const scale = wide > tall ? [across / half, 1 / half, -1 / (2 * data.reach_mm)] : [1 / half, 1 / (half * across), -1 / (2 * data.reach_mm)];
    const view = new Float32Array(16); view[15] = 1;
    for (let i = 0; i < 3; i++) {
      for (let n = 0; n < 3; n++) { view[4 * n + i] = scale[i] * turn[i][n]; }
      view[12 + i] = -scale[i] * dot(turn[i], data.centre_mm) + (i < 2 ? shift[i] : 0);
    }
    mark(1 / half * Math.min(wide, tall) / 2);
    gl.uniformMatrix4fv(gl.getUniformLocation(program, "view"), false, view);
    parts.forEach((part) => {
      if (!part.shown) { return; }
      gl.uniform3fv(gl.getUniformLocation(program, "low"), part.low);
      gl.uniform1f(gl.getUniformLocation(program, "step"), part.step);
      gl.bindVertexArray(part.array); gl.drawElements(gl.TRIANGLES, part.count, gl.UNSIGNED_INT, 0);
    });
  }
  document.querySelectorAll("[data-part]").forEach((box) => box.addEventListener("change", () => {
    parts[Number(box.dataset.part)].shown = box.checked; draw();
  }));
  document.querySelectorAll("[data-view]").forEach((button) => button.addEventListener("click", () => {
    turn = data.views[Number(button.dataset.view)].turn; zoom = 1; shift = [0, 0]; draw();
  }));
  let last = null;
  canvas.addEventListener("pointerdown", (e) => { last = [e.clientX, e.clientY, e.button]; canvas.setPointerCapture(e.pointerId); });
  canvas.addEventListener("pointerup", () => { last = null; });
  canvas.addEventListener("pointermove", (e) => {
    if (!last) { return; }
    const dx = e.clientX - last[0], dy = e.clientY - last[1];
    if (last[2] === 0) { about(1, dx * 0.008); about(0, dy * 0.008); }
    else { shift = [shift[0] + (2 * dx) / canvas.clientWidth, shift[1] - (2 * dy) / canvas.clientHeight]; }
    last = [e.clientX, e.clientY, last[2]]; draw();
  });
  canvas.addEventListener("contextmenu", (e) => e.preventDefault());
  canvas.addEventListener("wheel", (e) => { e.preventDefault(); zoom = Math.min(20, Math.max(0.3, zoom * Math.exp(-e.deltaY * 0.001))); draw(); }, { passive: false });
  window.addEventListener("resize", draw); window.addEventListener("beforeprint", draw); draw();
  document.documentElement.dataset.scene = "drawn";
})();
